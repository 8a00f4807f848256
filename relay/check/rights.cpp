#include "relay/check/rights.hpp"

#include <algorithm>
#include <sstream>

namespace once::checks {

namespace {

std::string value_of(const SettingMap &settings, const char *name) {
    const auto found = settings.find(name);
    return found == settings.end() ? std::string() : found->second;
}

bool lists(const std::string &names, const std::string &wanted) {
    std::istringstream words(names);
    for (std::string word; std::getline(words, word, ';');)
        if (word == wanted)
            return true;
    return false;
}

const char *flag_of(rd_kafka_ResourceType_t type) {
    return type == RD_KAFKA_RESOURCE_TOPIC ? "--topic " : "--group ";
}

} // namespace

Principal principal_of(const KafkaOptions &options, const SettingMap &broker) {
    Principal principal;
    // Settings that cannot be read are no proof that there is none.
    principal.authorizer = broker.empty() || !value_of(broker, "authorizer.class.name").empty();
    const std::string builder = value_of(broker, "principal.builder.class");
    if (builder.empty() || builder.ends_with(".DefaultKafkaPrincipalBuilder"))
        for (const auto &[name, value] : options.passthrough)
            if (name == "sasl.username")
                principal.name = "User:" + value;
    principal.super_user =
        !principal.name.empty() && lists(value_of(broker, "super.users"), principal.name);
    principal.allowed_without_acl = value_of(broker, "allow.everyone.if.no.acl.found") == "true";
    return principal;
}

Granted granted(const Principal &principal, const AclState &acls,
                rd_kafka_AclOperation_t operation) {
    if (!principal.authorizer || principal.super_user)
        return Granted::yes;
    if (acls.error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return Granted::unknown;
    if (acls.all.empty())
        return principal.allowed_without_acl ? Granted::yes : Granted::no;
    const auto any = [&](bool allows) {
        return std::any_of(acls.all.begin(), acls.all.end(), [&](const Acl &acl) {
            return acl.allows == allows &&
                   (principal.name.empty() || acl.principal == principal.name ||
                    acl.principal == "User:*") &&
                   (acl.operation == operation || acl.operation == RD_KAFKA_ACL_OPERATION_ALL);
        });
    };
    if (!any(true))
        return Granted::no;
    if (!any(false))
        return Granted::yes;
    return principal.name.empty() ? Granted::unknown : Granted::no;
}

std::string acl_fix(const Principal &principal, const Right &right) {
    return "kafka-acls.sh --add --allow-principal " +
           (principal.name.empty() ? "User:…" : principal.name) + " --operation " +
           (right.operation == RD_KAFKA_ACL_OPERATION_READ ? "Read " : "Write ") +
           flag_of(right.type) + right.name;
}

void check_right(Cluster &cluster, const Principal &principal, const Right &right,
                 Findings &findings) {
    if (!principal.authorizer || principal.super_user)
        return;
    const AclState acls = cluster.acls(right.type, right.name);
    const std::string what =
        std::string(right.operation == RD_KAFKA_ACL_OPERATION_READ ? "read " : "write ") +
        (right.type == RD_KAFKA_RESOURCE_TOPIC ? "topic \"" : "with group \"") + right.name + "\"";
    switch (granted(principal, acls, right.operation)) {
    case Granted::yes:
        return;
    case Granted::unknown:
        findings.warning(
            "kafka",
            "whether the relay may " + what + " is not known" +
                (acls.error == RD_KAFKA_RESP_ERR_NO_ERROR
                     ? std::string()
                     : std::string(": ") + rd_kafka_err2str(acls.error)),
            "allow it DESCRIBE on the cluster, then this is checked; or see that there "
            "is: " +
                acl_fix(principal, right));
        return;
    case Granted::no:
        // Another principal than we think, or a super user whose list is not shown: then it works.
        if (principal.name.empty())
            findings.warning("kafka", "no ACL allows anybody to " + what,
                             acl_fix(principal, right) + ", unless the relay is a super user");
        else
            findings.error(ExitCode::kafka, "kafka", principal.name + " may not " + what,
                           acl_fix(principal, right));
    }
}

} // namespace once::checks
