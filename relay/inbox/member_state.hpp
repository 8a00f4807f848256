// What a member is doing, judged from facts each time it is asked: a state that was entered once
// would stay until somebody thought of leaving it.
//
//   state     it is that, until
//   starting  there is no consumer yet
//   retrying  something failed, until a message, an end or a commit came after it, or every
//             partition is leased, nothing is in hand and a broker answered after it
//   blocked   somebody has to repair something (topic missing, not authorised): the same, but the
//             leases are newer, too
//   running   nothing of that
#pragma once

#include "relay/process/metrics.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace once::inbox {

// Times are now_ms(), 0 = never.
struct MemberFacts {
    bool joined = false;         // there is a consumer
    bool waiting = false;        // for the end of a pause after a failure
    bool all_leased = false;     // the group has assigned, and the database has given all of it
    bool nothing_in_hand = true; // everything that was taken is applied
    std::int64_t answered_ms = 0;
    std::int64_t leased_ms = 0;
    std::int64_t got_on_ms = 0; // a message was taken, an end was reached, a part was committed
};

struct Trouble {
    std::int64_t since_ms = 0;
    bool blocked = false;
    std::string why;
};

class MemberState {
  public:
    // A later one counts; a failure on the way does not hide that somebody has to repair something.
    void meet(Trouble trouble) {
        trouble.blocked = trouble.blocked || blocked();
        trouble_ = std::move(trouble);
    }

    WorkState judge(const MemberFacts &facts) {
        if (trouble_ && is_over(facts))
            trouble_.reset();
        if (trouble_)
            return trouble_->blocked ? WorkState::blocked : WorkState::retrying;
        return facts.joined ? WorkState::running : WorkState::starting;
    }

    bool blocked() const { return trouble_ && trouble_->blocked; }
    const std::optional<Trouble> &trouble() const { return trouble_; }

  private:
    bool is_over(const MemberFacts &facts) const {
        const std::int64_t since = trouble_->since_ms;
        if (facts.waiting || !facts.joined)
            return false;
        if (facts.got_on_ms > since)
            return true;
        return facts.all_leased && facts.nothing_in_hand && facts.answered_ms > since &&
               (!trouble_->blocked || facts.leased_ms > since);
    }

    std::optional<Trouble> trouble_;
};

} // namespace once::inbox
