// One topic: is it there, may it be written, do its settings keep what was acknowledged?
#pragma once

#include "relay/check/cluster.hpp"
#include "relay/check/finding.hpp"
#include "relay/check/rights.hpp"

namespace once::checks {

struct TopicUnderCheck {
    std::string name;
    TopicState state;
    std::int64_t largest_event; // bytes; 0: not asked
    bool positions;             // the position topic: settings of its own, and stricter
    Principal principal;        // who wants to write it, and read it if it is the position topic
};

void check_topic(Cluster &cluster, const TopicUnderCheck &topic, Findings &findings);

// The part that only looks at values.
void judge_topic(const TopicUnderCheck &topic, const SettingMap &settings, Findings &findings);

} // namespace once::checks
