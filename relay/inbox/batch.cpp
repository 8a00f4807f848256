#include "relay/inbox/batch.hpp"

namespace once::inbox {

void MessageColumns::add(const Entry &entry) {
    const auto &[message, identity] = entry;
    topics_.add_bytes(message.topic);
    partitions_.add_int(message.partition);
    offsets_.add_int(message.offset);
    keys_.add(message.key ? std::optional(as_text(*message.key)) : std::nullopt);
    payloads_.add(message.payload);
    if (const auto json = headers_json(message.headers))
        headers_.add_json(*json);
    else
        headers_.add_null();
    ids_.add_bytes(identity.id);
    sources_.add_bytes(identity.source);
    positions_.add_int(identity.position);
    if (message.time_ms)
        times_.add_time(*message.time_ms);
    else
        times_.add_null();
}

std::vector<Parameter> MessageColumns::parameters() {
    return {topics_,  partitions_, offsets_, keys_,      payloads_,
            headers_, ids_,        sources_, positions_, times_};
}

void MessageColumns::clear() {
    for (Array *column : {&topics_, &partitions_, &offsets_, &keys_, &payloads_, &headers_, &ids_,
                          &sources_, &positions_, &times_})
        column->clear();
}

void IdColumns::add(const Entry &entry, std::size_t number) {
    if (!entry.identity.from_sender)
        return;
    numbers_.push_back(number);
    const auto uuid = uuids_only_ ? uuid_bytes(entry.identity.id) : std::nullopt;
    uuids_only_ = uuids_only_ && uuid;
    if (uuids_only_)
        uuids_.add_bytes(*uuid);
    texts_.add_bytes(entry.identity.id);
    if (entry.message.time_ms)
        times_.add_time(*entry.message.time_ms);
    else
        times_.add_null();
}

void IdColumns::clear() {
    uuids_.clear();
    texts_.clear();
    times_.clear();
    numbers_.clear();
    uuids_only_ = true;
}

const Entry &Batch::add(Message message, const IdentityRule &rule, std::string_view name) {
    Identity identity = identify(message, rule, name);
    all_.push_back({std::move(message), std::move(identity)});
    encode(all_.back(), all_.size() - 1);
    return all_.back();
}

void Batch::encode(const Entry &entry, std::size_t number) {
    sum_ += entry.message.bytes();
    columns.add(entry);
    ids.add(entry, number);
}

void Batch::drop(const TopicPartitionView &place, std::size_t first) {
    std::vector<Entry> kept;
    for (std::size_t i = first; i < all_.size(); ++i)
        if (all_[i].message.partition != place.partition || all_[i].message.topic != place.topic)
            kept.push_back(std::move(all_[i]));
    clear();
    all_ = std::move(kept);
    for (std::size_t i = 0; i < all_.size(); ++i)
        encode(all_[i], i);
}

void Batch::clear() {
    all_.clear();
    columns.clear();
    ids.clear();
    sum_ = 0;
}

} // namespace once::inbox
