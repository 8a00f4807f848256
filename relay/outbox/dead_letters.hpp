// What the pipeline remembers of once.dead_letter: which events never ship on the main path, and
// which keys are held.
#pragma once

#include "relay/outbox/event.hpp"
#include "relay/outbox/source.hpp"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace once::outbox {

class DeadLetters {
  public:
    void load(const std::vector<std::int64_t> &seqs, const std::vector<HeldKey> &keys) {
        parked_.clear();
        parked_.insert(seqs.begin(), seqs.end());
        hold_only(keys);
    }
    void hold_only(const std::vector<HeldKey> &keys) {
        held_.clear();
        for (const HeldKey &held : keys)
            if (held.key)
                held_.emplace(name(held.topic, *held.key), held.since);
    }
    void park(const Event &event, bool hold) {
        parked_.insert(event.seq);
        if (hold && event.key) // a null key holds nothing else
            hold_from(held_.emplace(name(event.topic, *event.key), event.seq).first->second,
                      event.seq);
    }

    bool empty() const { return parked_.empty() && held_.empty(); }
    bool is_parked(std::int64_t seq) const { return parked_.count(seq) != 0; }
    bool is_held(const Event &event) const {
        if (held_.empty() || !event.key)
            return false;
        const auto it = held_.find(name(event.topic, *event.key));
        return it != held_.end() && event.seq > it->second; // what came before it flows
    }
    std::size_t held_count() const { return held_.size(); }

  private:
    static void hold_from(std::int64_t &since, std::int64_t seq) { since = std::min(since, seq); }

    // A topic has no control characters, so nothing else gives the same name.
    static std::string name(std::string_view topic, std::string_view key) {
        std::string text(topic);
        text += '\n';
        text += key;
        return text;
    }

    std::unordered_set<std::int64_t> parked_;
    std::unordered_map<std::string, std::int64_t> held_; // with the number it holds from
};

} // namespace once::outbox
