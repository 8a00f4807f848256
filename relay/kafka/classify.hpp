// The one place that turns librdkafka's errors into outcomes.
#pragma once

#include "relay/kafka/handles.hpp"
#include "relay/kafka/outcome.hpp"

namespace once::kafka {

// By flags and never by code: codes differ between brokers and versions, the flags are the
// contract. An error without any flag is one nobody foresaw: the producer is thrown away.
inline Outcome classify(const rd_kafka_error_t *error) {
    if (error == nullptr)
        return Outcome::ok;
    if (rd_kafka_error_is_fatal(error))
        return Outcome::fatal;
    if (rd_kafka_error_txn_requires_abort(error))
        return Outcome::abort;
    if (rd_kafka_error_is_retriable(error))
        return Outcome::retry;
    return Outcome::fatal;
}

// Why a message came back undelivered. Delivery reports have no flags, only codes: those a broker
// (or librdkafka in its place) gives when the same request can never succeed are listed, all others
// are transient.
enum class Undelivered {
    transient, // connection, timeout, leader away, purged: the same message may go through
    topic,     // the topic is missing or not ours to write: somebody has to repair it
    message,   // this message, or one in the same request, is refused for good
};

// Somebody has to give us a right. There is no flag for that either.
inline bool forbidden(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

inline Undelivered undelivered(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        return Undelivered::topic;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return Undelivered::message;
    default:
        return Undelivered::transient;
    }
}

} // namespace once::kafka
