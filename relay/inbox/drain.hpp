// --until-empty: nobody leaves before everybody is done, or the partitions of those who left would
// begin anew at somebody else.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

namespace once::inbox {

class Drain {
  public:
    Drain(bool wanted, std::size_t members) : enabled_(wanted), flags_(members) {}
    bool wanted() const { return enabled_; }
    void report(std::size_t member, bool drained) { flags_[member] = drained; }
    bool complete() const {
        return enabled_ && std::all_of(flags_.begin(), flags_.end(),
                                       [](const auto &flag) { return flag.load(); });
    }

  private:
    bool enabled_;
    std::vector<std::atomic<bool>> flags_;
};

} // namespace once::inbox
