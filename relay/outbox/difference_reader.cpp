#include "relay/outbox/difference_reader.hpp"

#include "relay/postgres/copy_stream.hpp"

#include <algorithm>

namespace once::outbox {
namespace {

using postgres::CopyStream;
using postgres::Session;

wire::Snapshot parsed(const std::string &text) {
    auto snapshot = wire::parse_snapshot(text);
    if (!snapshot)
        throw postgres::SessionLost("not a snapshot: " + text);
    return std::move(*snapshot);
}

std::optional<std::int64_t> one_number(Session &session, const std::string &query) {
    const auto row = session.row(query);
    if (row[0].is_null())
        return std::nullopt;
    return row[0].as<std::int64_t>();
}

} // namespace

Cut take_cut(Session &session, int lane) {
    const auto row = session.row("SELECT snapshot, lsn, timeline, seq FROM once.cut($1)", lane);
    return Cut{row[0].as<std::string>(), row[1].as<std::string>(),
               static_cast<std::uint32_t>(row[2].as<std::int64_t>()),
               row[3].is_null() ? 0 : row[3].as<std::int64_t>()};
}

void DifferenceReader::resume(const Position &position) {
    open_.reset();
    resumed_inside_.reset();
    last_rows_ = 0;
    passed_seq_ = position.last_seq.value_or(0);
    if (position.slice_seq) {
        resumed_inside_ = position;
        s_prev_ = *position.s_prev;
    } else {
        s_prev_ = position.s_now;
    }
    s_prev_parsed_ = parsed(s_prev_);
    announced_ = s_prev_;
}

void DifferenceReader::announce(Batch &batch) {
    batch.s_prev = announced_;
    if (!batch.slice_seq)
        announced_ = batch.s_now;
}

Batch DifferenceReader::begin_batch(const Open &what) const {
    Batch batch;
    batch.arena = std::make_shared<Arena>();
    batch.s_now = what.difference.now_text;
    batch.lsn = what.cut.lsn;
    batch.timeline = what.cut.timeline;
    return batch;
}

bool DifferenceReader::read(Session &session, const std::string &query, std::size_t bytes,
                            Batch &batch) {
    batch.events.reserve(last_rows_);
    CopyStream stream(session, query);
    while (const auto row = stream.next_row()) {
        // Always at least one: an event larger than the limit is a batch of its own.
        if (!batch.events.empty() && batch.arena->size() + row->size() > bytes) {
            stream.stop();
            return false;
        }
        batch.events.push_back(decode_event(batch.arena->put(row->data(), row->size())));
        batch.bytes += batch.events.back().size();
    }
    return true;
}

void DifferenceReader::learn(const Batch &batch) {
    last_rows_ = batch.events.size();
    if (last_rows_ != 0)
        row_bytes_ = (row_bytes_ + static_cast<double>(batch.arena->size()) / last_rows_) / 2;
}

void DifferenceReader::finish(const Open &what) {
    s_prev_ = what.difference.now_text;
    s_prev_parsed_ = what.difference.now;
    passed_seq_ = std::max(passed_seq_, what.cut.seq);
    open_.reset();
}

std::optional<Batch> DifferenceReader::next(Session &session, ReadSize most) {
    most = {std::min(most.rows, limits_.rows), std::min(most.bytes, limits_.bytes)};
    if (resumed_inside_) {
        const Position from = *std::exchange(resumed_inside_, std::nullopt);
        Open what{{lane_, s_prev_parsed_, parsed(from.s_now), s_prev_, from.s_now},
                  {from.s_now, from.lsn, from.timeline, 0},
                  0,
                  0};
        open_wide(session, std::move(what), from.slice_seq);
    }
    if (open_)
        if (auto batch = read_slice(session, most))
            return batch;
    const Cut cut = take_cut(session, lane_);
    Open what{{lane_, s_prev_parsed_, parsed(cut.snapshot), s_prev_, cut.snapshot}, cut, 0, 0};
    if (!what.difference.possible()) {
        last_rows_ = 0;
        return std::nullopt;
    }
    // The numbers drawn since tell how big it can be, but for transactions that ran meanwhile; the
    // row limit in the query is for those.
    const auto drawn = static_cast<double>(cut.seq - passed_seq_);
    const bool small = drawn <= static_cast<double>(most.rows) &&
                       drawn * row_bytes_ <= static_cast<double>(most.bytes);
    if (small)
        if (auto batch = read_narrow(session, what, most)) {
            if (batch->events.empty())
                return std::nullopt;
            return batch;
        }
    open_wide(session, std::move(what), std::nullopt);
    return read_slice(session, most);
}

// Nothing: too big for one piece.
std::optional<Batch> DifferenceReader::read_narrow(Session &session, const Open &what,
                                                   ReadSize most) {
    Batch batch = begin_batch(what);
    const bool whole = read(session, what.difference.narrow(most.rows + 1), most.bytes, batch);
    if (!whole && batch.events.empty())
        return std::nullopt;
    if (whole && batch.events.size() > most.rows)
        return std::nullopt;
    learn(batch);
    if (whole) {
        finish(what);
        if (!batch.events.empty())
            announce(batch);
        return batch;
    }
    // The difference may exceed most.rows; with LIMIT and no ORDER BY this is then an arbitrary
    // subset.
    return std::nullopt;
}

void DifferenceReader::open_wide(Session &session, Open what, std::optional<std::int64_t> after) {
    if (after) {
        what.after = *after;
    } else {
        what.after = passed_seq_;
        if (const auto lowest = one_number(session, what.difference.lowest_of_running()))
            what.after = std::min(what.after, *lowest - 1);
    }
    const std::string table = "once.event_" + std::to_string(lane_);
    what.until = one_number(session, "SELECT max(seq) FROM " + table).value_or(what.after);
    // Nothing was passed yet on a lane that is old: do not walk through what is long gone.
    if (what.after == 0)
        what.after = one_number(session, "SELECT min(seq) - 1 FROM " + table).value_or(0);
    open_ = std::move(what);
    sliced_ = after.has_value();
}

std::optional<Batch> DifferenceReader::read_slice(Session &session, ReadSize most) {
    const auto by_bytes = static_cast<std::size_t>(static_cast<double>(most.bytes) / row_bytes_);
    const std::size_t limit =
        std::max<std::size_t>(1, std::min({most.rows, limits_.slice_rows, by_bytes}));
    while (open_->after < open_->until) {
        Batch batch = begin_batch(*open_);
        const std::int64_t until = std::min(open_->until, open_->after + kWindow);
        const bool whole =
            read(session, open_->difference.wide(open_->after, until, limit), most.bytes, batch);
        const bool window_done = whole && batch.events.size() < limit;
        open_->after = window_done ? until : batch.events.back().seq;
        if (batch.events.empty())
            continue;
        learn(batch);
        passed_seq_ = std::max(passed_seq_, batch.events.back().seq);
        batch.more = open_->after < open_->until;
        if (batch.more) {
            batch.slice_seq = batch.events.back().seq;
            sliced_ = true;
        } else {
            finish(Open(*open_));
        }
        announce(batch);
        return batch;
    }
    Batch rest = begin_batch(*open_);
    finish(Open(*open_));
    if (!sliced_)
        return std::nullopt;
    announce(rest); // slices were announced, so their end is, too
    return rest;
}

} // namespace once::outbox
