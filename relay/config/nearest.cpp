#include "relay/config/nearest.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace once::config {

namespace {

std::size_t edits(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), 0);
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row.back();
}

} // namespace

std::string nearest(std::string_view word, std::span<const std::string> known) {
    std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
    std::string best;
    for (const std::string &candidate : known) {
        const std::size_t distance = edits(word, candidate);
        if (distance < least) {
            least = distance;
            best = candidate;
        }
    }
    return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> known,
                         std::string_view otherwise) {
    const std::string best = nearest(word, known);
    return best.empty() ? std::string(otherwise) : "Did you mean \"" + best + "\"?";
}

} // namespace once::config
