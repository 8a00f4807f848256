// A partition by its name.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace once::inbox {

struct TopicPartition {
    std::string topic;
    std::int32_t partition = 0;

    friend auto operator<=>(const TopicPartition &, const TopicPartition &) = default;
};

// The same without a string of its own, to look one up.
struct TopicPartitionView {
    std::string_view topic;
    std::int32_t partition = 0;
};

struct TopicPartitionOrder {
    using is_transparent = void;
    template <typename Left, typename Right>
    bool operator()(const Left &left, const Right &right) const {
        if (left.partition != right.partition)
            return left.partition < right.partition;
        return std::string_view(left.topic) < std::string_view(right.topic);
    }
};

inline std::string to_string(const TopicPartition &place) {
    return place.topic + "/" + std::to_string(place.partition);
}

} // namespace once::inbox
