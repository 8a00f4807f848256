#include "relay/inbox/applier.hpp"

#include "relay/options.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/process/metrics.hpp"

#include <algorithm>
#include <utility>

namespace once::inbox {
namespace {

// Deadlocks and serialization failures in a row before a message is held to be the reason.
constexpr int kMostConflicts = 20;

const std::vector<int> kNoPauses;

std::string where(const Message &message) {
    return to_string(TopicPartition{std::string(message.topic), message.partition}) +
           " at offset " + std::to_string(message.offset);
}

} // namespace

Applier::Applier(const InboxOptions &options, InboxDatabase &database, PartitionLeases &leases,
                 InboxMetrics &metrics, std::int64_t max_poll_interval_ms)
    : options_(options), database_(database), leases_(leases), metrics_(metrics),
      work_({options.id_header, options.id_path, options.id_with_topic}),
      limit_(static_cast<std::size_t>(options.max_rows), max_poll_interval_ms), budget_(now_ms()) {}

void Applier::add(Message message, std::string_view name) {
    const Entry &entry = work_.add(std::move(message), name);
    if (!entry.identity.missing)
        return;
    metrics_.without_id.fetch_add(1, std::memory_order_relaxed);
    log::warning("inbox_message_without_id",
                 {{"consumer", options_.consumer}, {"message", where(entry.message)}});
}

void Applier::drop(const TopicPartitionView &place) {
    work_.drop(place);
}

bool Applier::is_full(const Batch &batch) const {
    return batch.size() >= limit_.rows() ||
           2 * batch.bytes() >= static_cast<std::size_t>(options_.max_bytes); // with the other one
}

Applier::Attempt Applier::apply_current(bool stopping) {
    // It was taken when more seemed to be affordable.
    while (work_.current().entries.size() > limit_.rows() && work_.split()) {
    }
    const Part part = work_.current();
    if (options_.on_missing_id != NoIdPolicy::place && part_has_no_id(part))
        return {};
    const std::size_t rows = part.entries.size();
    const std::int64_t begun_ms = now_ms();
    try {
        const InboxMetrics::Timed timed{metrics_};
        const Applied applied = database_.apply(part, leases_.all());
        measured(rows, now_ms() - begun_ms);
        settle(applied);
        return {};
    } catch (const MessageRefused &refused) {
        return on_refused(refused, stopping);
    }
}

// Dealt with apart from the others: put aside, or the end.
bool Applier::part_has_no_id(const Part &part) {
    const auto missing = [](const Entry &entry) { return entry.identity.missing; };
    if (std::none_of(part.entries.begin(), part.entries.end(), missing))
        return false;
    if (work_.split())
        return true;
    const Entry &entry = part.entries.front();
    if (options_.on_missing_id == NoIdPolicy::stop)
        throw Refusal(ExitCode::refused, "a message has no id", where(entry.message),
                      "Its sender gives none where id_path and id_header say. With on_missing_id = "
                      "\"place\" it is known by topic, partition and offset.");
    put_aside("the message has no id where id_path and id_header say", kNoPauses);
    return true;
}

void Applier::measured(std::size_t rows, std::int64_t ms) {
    limit_.took(rows, ms);
    if (limit_.limited() && !limit_told_)
        log::info("inbox_batch_limited",
                  {{"consumer", options_.consumer},
                   {"rows", limit_.rows()},
                   {"reason", std::to_string(rows) + " messages took " + std::to_string(ms) +
                                  " ms, a transaction has " + std::to_string(limit_.budget_ms()) +
                                  " ms"}});
    limit_told_ = limit_.limited();
}

void Applier::did_not_end(const std::string &why) {
    limit_.failed();
    limit_told_ = true;
    log::warning(
        "inbox_batch_limited",
        {{"consumer", options_.consumer}, {"rows", limit_.rows()}, {"reason", bounded(why)}});
}

void Applier::settle(const Applied &applied) {
    // First what is done, then what is not ours: dropping a partition changes what `current` is.
    work_.done();
    leases_.applied(applied.next);
    for (const TopicPartition &place : applied.fenced) {
        metrics_.fenced.fetch_add(1, std::memory_order_relaxed);
        leases_.lose(place, "fenced");
    }
    attempts_ = conflicts_ = 0;
    metrics_.messages.fetch_add(applied.fresh, std::memory_order_relaxed);
    metrics_.bytes.fetch_add(applied.bytes, std::memory_order_relaxed);
    metrics_.duplicates.fetch_add(applied.duplicates, std::memory_order_relaxed);
    metrics_.too_old.fetch_add(applied.too_old, std::memory_order_relaxed);
    metrics_.parked.fetch_add(applied.parked, std::memory_order_relaxed);
    metrics_.committed(!work_.empty());
}

Applier::Attempt Applier::on_refused(const MessageRefused &refused, bool stopping) {
    metrics_.ended(TransactionOutcome::aborted);
    if (stopping)
        return {}; // cancelled by ourselves; it comes again
    if (refused.failure == Failure::again ||
        (refused.failure == Failure::conflict && ++conflicts_ <= kMostConflicts))
        return {true, text_of(refused)};
    if (work_.split())
        return {};
    // Later by itself costs nobody anything. `stop` puts nothing aside.
    const std::vector<int> &pauses = options_.on_poison == PoisonPolicy::stop
                                         ? kNoPauses
                                         : options_.retry.delays_s(refused.sqlstate);
    ++attempts_;
    if (pauses.empty() && attempts_ < options_.max_attempts && budget_.take(now_ms()))
        return {true, text_of(refused)};
    database_.check(); // a handler that is gone is not the message's fault
    put_aside(text_of(refused), pauses);
    return {};
}

void Applier::put_aside(const std::string &error, const std::vector<int> &pauses) {
    const Entry &entry = work_.current().entries.front();
    const Message &message = entry.message;
    const TopicPartition place{std::string(message.topic), message.partition};
    PutAside aside{error, std::max(attempts_, 1), {}};
    if (options_.on_poison == PoisonPolicy::stop)
        throw Refusal(ExitCode::refused, "the handler refuses a message",
                      where(message) + ": " + error,
                      "Repair the handler, or set on_poison = \"hold_key\" or \"skip\".");
    if (!pauses.empty()) {
        aside.attempts = 1; // the pauses are counted by it
        aside.retry_in_s = pauses.front();
    }
    // What will be tried again holds its key whatever on_poison says: order.
    const bool hold =
        message.key && (aside.retry_in_s || options_.on_poison == PoisonPolicy::hold_key);
    const std::string key = hold ? as_text(*message.key) : std::string();
    const Applied applied = database_.park(entry, leases_.all(), aside);
    if (aside.retry_in_s) {
        metrics_.retries_later.fetch_add(applied.parked, std::memory_order_relaxed);
        retry_at_ms_ = now_ms() + 1000LL * *aside.retry_in_s;
        log::info("inbox_retry_later", {{"consumer", options_.consumer},
                                        {"message", where(message)},
                                        {"in_s", *aside.retry_in_s},
                                        {"error", error}});
    } else {
        log::warning(
            "inbox_parked",
            {{"consumer", options_.consumer}, {"message", where(message)}, {"error", error}});
    }
    if (hold && applied.parked > 0)
        leases_.hold_key(place, key);
    settle(applied);
}

std::int64_t Applier::take_retry_at_ms() {
    return std::exchange(retry_at_ms_, 0);
}

} // namespace once::inbox
