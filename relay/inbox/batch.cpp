#include "relay/inbox/batch.hpp"

namespace once::inbox {

void MessageColumns::add(const Entry &entry) {
    const auto &[message, identity] = entry;
    topics.add_bytes(message.topic);
    partitions.add_int(message.partition);
    offsets.add_int(message.offset);
    keys.add(message.key ? std::optional(as_text(*message.key)) : std::nullopt);
    payloads.add(message.payload);
    if (const auto json = headers_json(message.headers))
        headers.add_json(*json);
    else
        headers.add_null();
    ids.add_bytes(identity.id);
    sources.add_bytes(identity.source);
    positions.add_int(identity.position);
    if (message.time_ms)
        times.add_time(*message.time_ms);
    else
        times.add_null();
}

std::vector<Parameter> MessageColumns::parameters() {
    return {topics, partitions, offsets, keys, payloads, headers, ids, sources, positions, times};
}

void MessageColumns::clear() {
    for (Array *column : {&topics, &partitions, &offsets, &keys, &payloads, &headers, &ids,
                          &sources, &positions, &times})
        column->clear();
}

void IdColumns::add(const Entry &entry, std::size_t number) {
    if (!entry.identity.from_sender)
        return;
    numbers.push_back(number);
    const auto uuid = uuids_only ? uuid_bytes(entry.identity.id) : std::nullopt;
    uuids_only = uuids_only && uuid;
    if (uuids_only)
        uuids.add_bytes(*uuid);
    texts.add_bytes(entry.identity.id);
    if (entry.message.time_ms)
        times.add_time(*entry.message.time_ms);
    else
        times.add_null();
}

void IdColumns::clear() {
    uuids.clear();
    texts.clear();
    times.clear();
    numbers.clear();
    uuids_only = true;
}

void Batch::add(Message message, const IdentityRule &rule, std::string_view name) {
    Identity identity = identify(message, rule, name);
    all.push_back({std::move(message), std::move(identity)});
    encode(all.back(), all.size() - 1);
}

void Batch::encode(const Entry &entry, std::size_t number) {
    sum += entry.message.bytes();
    columns.add(entry);
    ids.add(entry, number);
}

void Batch::drop(const TopicPartitionView &place, std::size_t first) {
    std::vector<Entry> kept;
    for (std::size_t i = first; i < all.size(); ++i)
        if (all[i].message.partition != place.partition || all[i].message.topic != place.topic)
            kept.push_back(std::move(all[i]));
    clear();
    all = std::move(kept);
    for (std::size_t i = 0; i < all.size(); ++i)
        encode(all[i], i);
}

void Batch::clear() {
    all.clear();
    columns.clear();
    ids.clear();
    sum = 0;
}

} // namespace once::inbox
