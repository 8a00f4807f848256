// What a check found: one line each, with the fix beside what is not as it should be.
#pragma once

#include "relay/process/exit_code.hpp"

#include <string>
#include <vector>

namespace once::checks {

enum class Severity { ok, warning, error };

struct Finding {
    Severity severity;
    std::string area; // database, kafka, topic, inbox
    std::string what;
    std::string fix;
    ExitCode code; // of an error
};

class Findings {
  public:
    void ok(const std::string &area, const std::string &what);
    void warning(const std::string &area, const std::string &what, const std::string &fix);
    void error(ExitCode code, const std::string &area, const std::string &what,
               const std::string &fix);

    const std::vector<Finding> &all() const { return list_; }
    // Of the first error, since the later ones may follow from it; stopped when there is none.
    ExitCode exit_code() const;

    std::string lines() const; // with a sum at the end
    std::string json() const;

  private:
    std::vector<Finding> list_;
};

} // namespace once::checks
