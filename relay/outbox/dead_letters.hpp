// What the pipeline remembers of once.dead_letter: which events never ship on the main path, and
// which keys are held.
#pragma once

#include "relay/outbox/event.hpp"

#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace once::outbox {

class DeadLetters {
  public:
    void load(const std::vector<std::int64_t> &seqs,
              const std::vector<std::pair<std::string, std::optional<std::string>>> &keys) {
        parked_.clear();
        parked_.insert(seqs.begin(), seqs.end());
        hold_only(keys);
    }
    void hold_only(const std::vector<std::pair<std::string, std::optional<std::string>>> &keys) {
        held_.clear();
        for (const auto &[topic, key] : keys)
            if (key)
                held_.insert(name(topic, *key));
    }
    void park(const Event &event, bool hold) {
        parked_.insert(event.seq);
        if (hold && event.key) // a null key holds nothing else
            held_.insert(name(event.topic, *event.key));
    }

    bool empty() const { return parked_.empty() && held_.empty(); }
    bool is_parked(std::int64_t seq) const { return parked_.count(seq) != 0; }
    bool is_held(const Event &event) const {
        return !held_.empty() && event.key && held_.count(name(event.topic, *event.key)) != 0;
    }
    std::size_t held_count() const { return held_.size(); }

  private:
    // A topic has no control characters, so nothing else gives the same name.
    static std::string name(std::string_view topic, std::string_view key) {
        std::string text(topic);
        text += '\n';
        text += key;
        return text;
    }

    std::unordered_set<std::int64_t> parked_;
    std::unordered_set<std::string> held_;
};

} // namespace once::outbox
