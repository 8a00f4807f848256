// The numbers of Metrics as a scraper reads them.
#pragma once

#include "relay/process/metrics.hpp"

#include <string>
#include <string_view>

namespace once {

enum class MetricsFormat {
    prometheus,  // text format 0.0.4
    openmetrics, // OpenMetrics 1.0.0
};

// What the head of a request asks for in its Accept header; OpenMetrics only where it is named.
MetricsFormat metrics_format(std::string_view request);
const char *content_type(MetricsFormat format);
std::string prometheus_text(const Metrics &metrics,
                            MetricsFormat format = MetricsFormat::prometheus);

} // namespace once
