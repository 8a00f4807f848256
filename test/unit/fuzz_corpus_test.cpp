// The fuzz targets without a fuzzer: every file of the corpus, and each with bytes changed by a
// fixed seed. So a target cannot rot, and what was once found stays found.
#include "test/fuzz/target.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

namespace once::fuzz {
namespace {

constexpr int kVariants = 100;
const std::filesystem::path kCorpus = "test/fuzz/corpus";

std::string content(const std::filesystem::path &file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

std::string damaged(std::string bytes, std::mt19937 &random) {
    for (int n = 1 + static_cast<int>(random() % 3); n > 0 && !bytes.empty(); --n)
        switch (const std::size_t at = random() % bytes.size(); random() % 4) {
        case 0:
            bytes.erase(at, 1 + random() % 4);
            break;
        case 1:
            bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 8));
            break;
        case 2:
            bytes[at] = static_cast<char>(1 << random() % 8 ^ bytes[at]);
            break;
        default:
            bytes[at] = static_cast<char>(random());
        }
    return bytes;
}

TEST(FuzzCorpus, P14EveryTargetTakesItsCorpusAndWhatResemblesIt) {
    std::mt19937 random(1);
    std::set<std::string> names;
    for (const Target &target : targets()) {
        SCOPED_TRACE(target.name);
        names.insert(target.name);
        int files = 0;
        for (const auto &file : std::filesystem::directory_iterator(kCorpus / target.name)) {
            ++files;
            const std::string seed = content(file.path());
            ASSERT_NO_THROW(target.run(seed)) << file.path();
            for (int i = 0; i < kVariants; ++i) {
                const std::string variant = damaged(seed, random);
                ASSERT_NO_THROW(target.run(variant)) << testing::PrintToString(variant);
            }
        }
        EXPECT_GT(files, 0);
    }
    std::set<std::string> folders;
    for (const auto &folder : std::filesystem::directory_iterator(kCorpus))
        folders.insert(folder.path().filename());
    EXPECT_EQ(names, folders);
}

// The list of targets is made by their files: here it must not be empty without anybody noticing.
TEST(FuzzCorpus, P14ABrokenPropertyIsSeen) {
    EXPECT_THROW(hold(false, "broken"), Broken);
    EXPECT_GE(targets().size(), 8u);
}

} // namespace
} // namespace once::fuzz
