// The bar of --until-empty on a terminal. It reads Metrics: whoever counts there needs to know
// nothing of it.
#pragma once

#include "relay/process/metrics.hpp"
#include "relay/options.hpp"

#include <string>
#include <thread>

namespace once {

class ProgressBar {
  public:
    // Draws on stderr twice a second, when it is a terminal and options.until_empty; else does
    // nothing.
    ProgressBar(const Options &options, const Metrics &metrics);
    ~ProgressBar();
    ProgressBar(const ProgressBar &) = delete;
    ProgressBar &operator=(const ProgressBar &) = delete;

    // "[#####     ]  50 %  500 of 1000, 250/s"
    static std::string draw(std::uint64_t done, std::uint64_t left, double seconds);

  private:
    std::jthread thread_;
};

} // namespace once
