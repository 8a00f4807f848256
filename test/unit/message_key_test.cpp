// The ids of the memory, against vectors made by another implementation (vectors/message_key.json,
// for every language to test against) and against rules that hold for any input.
#include "extension/wire/message_key.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <random>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <openssl/sha.h>

using namespace once::wire;

namespace {

std::array<unsigned char, 32> sha256(std::string_view bytes) {
    std::array<unsigned char, 32> digest;
    SHA256(reinterpret_cast<const unsigned char *>(bytes.data()), bytes.size(), digest.data());
    return digest;
}

std::string unhex(const std::string &hex) {
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    return bytes;
}

MessageKey uuid_of(const std::string &text) {
    return parse_uuid(text).value();
}

std::string text_key(const std::string &text) {
    return uuid_text(key_of_text(text, sha256));
}

class E1MessageKey : public ::testing::Test {
  protected:
    MessageKey any_uuid() {
        MessageKey uuid;
        for (auto &byte : uuid)
            byte = static_cast<unsigned char>(random());
        return uuid;
    }
    std::mt19937_64 random{4711};
};

} // namespace

TEST_F(E1MessageKey, VectorsOfAnotherImplementation) {
    std::ifstream file("test/unit/vectors/message_key.json");
    const auto vectors = nlohmann::json::parse(file);
    ASSERT_GT(vectors.size(), 70U);
    for (const auto &vector : vectors) {
        std::string key;
        if (vector.contains("text"))
            key = text_key(vector["text"]);
        else if (vector.contains("bigint"))
            key = uuid_text(key_of_number(vector["bigint"].get<std::int64_t>()));
        else if (vector.contains("uuid"))
            key = uuid_text(key_of_uuid(uuid_of(vector["uuid"]), sha256));
        else if (vector.contains("bytes"))
            key = uuid_text(key_of_bytes(unhex(vector["bytes"]), sha256));
        else {
            EXPECT_EQ(owner_of(vector["kind"].get<std::string>(), vector["name"].get<std::string>(),
                               sha256),
                      vector["owner"].get<std::int64_t>())
                << vector;
            continue;
        }
        EXPECT_EQ(key, vector["key"].get<std::string>()) << vector;
    }
}

TEST_F(E1MessageKey, EverySpellingOfAUuidIsOneKey) {
    for (int round = 0; round < 2000; ++round) {
        const MessageKey uuid = any_uuid();
        const std::string plain = uuid_text(uuid);
        std::string spelled;
        for (char character : plain)
            if (character != '-')
                spelled += random() % 2 ? static_cast<char>(std::toupper(character)) : character;
        for (int at = 28; at > 0; at -= 4)
            if (random() % 2)
                spelled.insert(static_cast<std::size_t>(at), "-");
        if (random() % 2)
            spelled = "{" + spelled + "}";
        EXPECT_EQ(parse_uuid(spelled), uuid) << spelled;
        EXPECT_EQ(text_key(spelled), uuid_text(key_of_uuid(uuid, sha256))) << spelled;
        // A character more or another one is no uuid, so a text.
        std::string damaged = spelled;
        damaged.insert(random() % (damaged.size() + 1), 1, "-{} gx"[random() % 6]);
        if (!parse_uuid(damaged)) {
            EXPECT_EQ(key_of_text(damaged, sha256)[6], 0x82) << damaged;
        }
    }
}

TEST_F(E1MessageKey, NumbersKeepTheirOrder) {
    std::vector<std::int64_t> numbers{INT64_MIN, INT64_MIN + 1, -1, 0, 1, 255, 256, INT64_MAX};
    for (int i = 0; i < 5000; ++i)
        numbers.push_back(static_cast<std::int64_t>(random()) >> random() % 64);
    std::sort(numbers.begin(), numbers.end());
    for (std::size_t i = 1; i < numbers.size(); ++i) {
        const MessageKey before = key_of_number(numbers[i - 1]), now = key_of_number(numbers[i]);
        EXPECT_EQ(before < now, numbers[i - 1] < numbers[i]);
        EXPECT_EQ(text_key(std::to_string(numbers[i])), uuid_text(now));
    }
}

TEST_F(E1MessageKey, NothingOfTheApplicationsMeetsATaggedKey) {
    std::set<MessageKey> tagged;
    for (int i = 0; i < 2000; ++i) {
        const auto number = static_cast<std::int64_t>(random());
        const std::string bytes = std::to_string(number);
        for (const MessageKey &key : {key_of_number(number), key_of_text("x" + bytes, sha256),
                                      key_of_bytes(bytes, sha256)}) {
            EXPECT_EQ(uuid_version(key), 8);
            tagged.insert(key);
            // The same 16 bytes as a uuid of the application's are another id.
            EXPECT_NE(key_of_uuid(key, sha256), key);
            EXPECT_EQ(text_key(uuid_text(key)), uuid_text(key_of_uuid(key, sha256)));
        }
    }
    EXPECT_EQ(tagged.size(), 6000U);
    for (int i = 0; i < 2000; ++i) {
        const MessageKey uuid = any_uuid();
        EXPECT_EQ(key_of_uuid(uuid, sha256) == uuid, uuid_version(uuid) != 8);
    }
}

TEST_F(E1MessageKey, AnyBytesHaveAKeyAndNoOtherText) {
    std::set<MessageKey> keys;
    for (int i = 0; i < 3000; ++i) {
        std::string text(1 + random() % 40, '\0');
        for (auto &byte : text)
            byte = "0123456789abcdefABCDEF-{}+. \xc3\xa4"[random() % 30];
        text += std::to_string(i) + "#";
        keys.insert(key_of_text(text, sha256));
    }
    EXPECT_EQ(keys.size(), 3000U);
    EXPECT_EQ(uuid7_milliseconds(uuid_of("018f3b1e-0000-7000-8000-000000000001")), 0x018f3b1e0000);
    EXPECT_EQ(uuid7_milliseconds(uuid_of("018f3b1e-0000-4000-8000-000000000001")), std::nullopt);
    EXPECT_EQ(uuid7_milliseconds(uuid_of("018f3b1e-0000-7000-c000-000000000001")), std::nullopt);
}
