// Places where the process can be told to die, for the tests: ONCE_CRASH_AT=name[:n] kills it with
// SIGKILL at the n-th passage (default 1). Costs one load of a plain variable when unset.
#pragma once

#include <array>
#include <string_view>

namespace once {

enum class CrashPoint : int {
    none,
    after_lane_lock,
    before_init,
    after_init,
    after_start_record,
    after_genesis,
    after_arm,
    before_begin,
    after_k_messages, // half of a transaction's messages are with librdkafka
    before_position,
    after_position,
    before_commit,
    in_commit, // EndTxn has left
    after_commit,
    before_report,
    before_trim,
    after_trim,
    before_park,
    after_park, // committed in the database, not yet passed over in Kafka
    after_stamp,
    before_redrive_commit,
    after_redrive_commit,
    before_unstamp,
    after_unstamp,
    inbox_after_claim,
    inbox_after_start, // where a new group begins is stored, nothing is read
    inbox_before_assign,
    inbox_after_poll,
    inbox_after_fence,
    inbox_after_dedup,
    inbox_after_handler,
    inbox_before_commit,
    inbox_in_commit, // COMMIT has left
    inbox_after_commit,
    inbox_before_park,
    inbox_after_park,
    inbox_before_redrive_commit,
    inbox_after_advice,
    count
};

inline constexpr std::array<std::string_view, static_cast<std::size_t>(CrashPoint::count)>
    kCrashPointNames = {"none",
                        "after_lane_lock",
                        "before_init",
                        "after_init",
                        "after_start_record",
                        "after_genesis",
                        "after_arm",
                        "before_begin",
                        "after_k_messages",
                        "before_position",
                        "after_position",
                        "before_commit",
                        "in_commit",
                        "after_commit",
                        "before_report",
                        "before_trim",
                        "after_trim",
                        "before_park",
                        "after_park",
                        "after_stamp",
                        "before_redrive_commit",
                        "after_redrive_commit",
                        "before_unstamp",
                        "after_unstamp",
                        "inbox_after_claim",
                        "inbox_after_start",
                        "inbox_before_assign",
                        "inbox_after_poll",
                        "inbox_after_fence",
                        "inbox_after_dedup",
                        "inbox_after_handler",
                        "inbox_before_commit",
                        "inbox_in_commit",
                        "inbox_after_commit",
                        "inbox_before_park",
                        "inbox_after_park",
                        "inbox_before_redrive_commit",
                        "inbox_after_advice"};

namespace crash {
extern CrashPoint chosen; // read from the environment before main
void passed() noexcept;   // counts, and dies at the n-th
} // namespace crash

inline void crash_point(CrashPoint here) noexcept {
    if (crash::chosen == here) [[unlikely]]
        crash::passed();
}

// Control tests switch a rule off and must then see the harm it prevents: ONCE_TEST_DISABLE=r1,…
// Never set it outside tests.
enum class Rule { r1, position_in_transaction, topic_ids };
bool disabled_by_test(Rule rule) noexcept;

} // namespace once
