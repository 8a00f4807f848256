// The first worker that fails ends all, is told at once, and nobody is waited for without an end.
#include "relay/process/aside.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/workers.hpp"

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

namespace once {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Workers, TheFirstFailureEndsAllAndIsThrown) {
    StopSignal stop;
    Workers workers(stop, seconds(10));
    workers.start("waits", [&] { stop.wait_for(seconds(60)); });
    workers.start("fails", [] { throw Refusal(ExitCode::kafka, "no"); });
    try {
        workers.wait();
        FAIL();
    } catch (const Refusal &refusal) {
        EXPECT_EQ(refusal.code, ExitCode::kafka);
        EXPECT_TRUE(refusal.told);
    }
}

TEST(Workers, RE10WhoDoesNotComeBackIsLeftBehindAndTheRefusalIsTold) {
    EXPECT_EXIT(
        {
            StopSignal stop;
            Workers workers(stop, milliseconds(1));
            workers.start("hangs", [] { ::pause(); });
            workers.start("fails",
                          [] { throw Refusal(ExitCode::refused, "somebody has to say it"); });
            workers.wait();
        },
        ::testing::ExitedWithCode(6), "somebody has to say it");
}

TEST(Workers, RE15NoThreadIsARefusalInWords) {
    const auto thrown = in_words(std::make_exception_ptr(
        std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again))));
    try {
        std::rethrow_exception(thrown);
    } catch (const Refusal &refusal) {
        EXPECT_EQ(refusal.code, ExitCode::bug);
        EXPECT_THAT(refusal.what(), ::testing::HasSubstr("could not start a thread"));
    }
}

TEST(Aside, RE2ACallThatHangsIsLeft) {
    EXPECT_FALSE(aside([] { return ::pause(); }, milliseconds(20)));
    StopSignal stop;
    stop.request();
    EXPECT_FALSE(aside([] { return ::pause(); }, seconds(60), &stop));
    EXPECT_EQ(aside([] { return 7; }, seconds(60)), 7);
    EXPECT_THROW(aside([]() -> int { throw std::runtime_error("no"); }, seconds(60)),
                 std::runtime_error);
}

} // namespace
} // namespace once
