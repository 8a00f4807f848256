// What the brokers allow the relay's principal, asked from their ACLs: a right that is missing is
// named before the first event needs it.
#pragma once

#include "relay/check/cluster.hpp"
#include "relay/check/finding.hpp"

namespace once::checks {

// Who we are to the brokers, and how they decide.
struct Principal {
    std::string name;                 // User:name; empty: we cannot tell
    bool authorizer = false;          // without one everybody may do everything
    bool super_user = false;          // no ACL is asked
    bool allowed_without_acl = false; // allow.everyone.if.no.acl.found
};

Principal principal_of(const KafkaOptions &options, const SettingMap &broker);

struct Right {
    rd_kafka_ResourceType_t type;
    std::string name;
    rd_kafka_AclOperation_t operation; // READ or WRITE
};

enum class Granted { yes, no, unknown };

// The rule of Kafka's authorizers: a deny wins, then one allow is enough.
Granted granted(const Principal &principal, const AclState &acls,
                rd_kafka_AclOperation_t operation);

// Adds an error for a right that is missing, a warning for one that cannot be asked.
void check_right(Cluster &cluster, const Principal &principal, const Right &right,
                 Findings &findings);

// kafka-acls.sh that gives it.
std::string acl_fix(const Principal &principal, const Right &right);

} // namespace once::checks
