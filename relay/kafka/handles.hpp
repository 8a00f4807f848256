// Every C handle of librdkafka that the relay owns, as unique_ptr.
//
// Order of destruction: messages and topics before their client; a consumed partition is stopped
// before its topic goes (Consuming in checkpoint_topic.cpp); events, queues, admin options and
// results before the client they came from. Members are therefore declared client first. Destroying
// a client joins its threads: after that no callback runs and no payload is read any more.
#pragma once

#include <librdkafka/rdkafka.h>

#include <memory>

namespace once::kafka {

struct Destroy {
    void operator()(rd_kafka_t *p) const noexcept { rd_kafka_destroy(p); }
    void operator()(rd_kafka_conf_t *p) const noexcept { rd_kafka_conf_destroy(p); }
    void operator()(rd_kafka_topic_t *p) const noexcept { rd_kafka_topic_destroy(p); }
    void operator()(rd_kafka_message_t *p) const noexcept { rd_kafka_message_destroy(p); }
    void operator()(rd_kafka_headers_t *p) const noexcept { rd_kafka_headers_destroy(p); }
    void operator()(rd_kafka_error_t *p) const noexcept { rd_kafka_error_destroy(p); }
    void operator()(rd_kafka_queue_t *p) const noexcept { rd_kafka_queue_destroy(p); }
    void operator()(rd_kafka_event_t *p) const noexcept { rd_kafka_event_destroy(p); }
    void operator()(const rd_kafka_metadata_t *p) const noexcept { rd_kafka_metadata_destroy(p); }
    void operator()(rd_kafka_NewTopic_t *p) const noexcept { rd_kafka_NewTopic_destroy(p); }
    void operator()(rd_kafka_ConfigResource_t *p) const noexcept {
        rd_kafka_ConfigResource_destroy(p);
    }
    void operator()(rd_kafka_AclBinding_t *p) const noexcept { rd_kafka_AclBinding_destroy(p); }
    void operator()(rd_kafka_topic_partition_list_t *p) const noexcept {
        rd_kafka_topic_partition_list_destroy(p);
    }
    void operator()(rd_kafka_AdminOptions_t *p) const noexcept { rd_kafka_AdminOptions_destroy(p); }
};

template <typename Handle> using Owned = std::unique_ptr<Handle, Destroy>;
using Client = Owned<rd_kafka_t>;
using Conf = Owned<rd_kafka_conf_t>;
using Topic = Owned<rd_kafka_topic_t>;
using Message = Owned<rd_kafka_message_t>;
using Headers = Owned<rd_kafka_headers_t>;
using Error = Owned<rd_kafka_error_t>;
using Partitions = Owned<rd_kafka_topic_partition_list_t>;
using Metadata = std::unique_ptr<const rd_kafka_metadata_t, Destroy>;

} // namespace once::kafka
