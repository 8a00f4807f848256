// InboxDatabase in SQL: every statement of the inbox stands here.
#pragma once

#include "relay/inbox/handler.hpp"
#include "relay/inbox/inbox_database.hpp"
#include "relay/inbox/session.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace once {
struct DatabaseOptions;
struct InboxOptions;
class StopSignal;
} // namespace once

namespace once::inbox {

class Receiver final : public InboxDatabase {
  public:
    // `beat` is called again and again while a statement runs: see Session.
    Receiver(const DatabaseOptions &database, const InboxOptions &options, const StopSignal &stop,
             std::function<int()> beat);

    void connect() override;
    void disconnect() override { session_.reset(); }
    bool connected() const override { return session_ != nullptr; }
    void rollback() override;
    void check() override;
    std::string identity() override;
    std::vector<LeaseGrant> claim(const std::vector<TopicPartition> &places,
                                  const TopicIds &ids) override;
    std::optional<std::int64_t> begin(const TopicPartition &place, const Offsets &offsets) override;
    [[nodiscard]] bool skip_to(const TopicPartition &place, const PartitionLease &lease,
                               std::int64_t offset) override;
    Applied apply(const Part &part, const Assignment &assignment) override;
    Applied park(const Entry &entry, const Assignment &assignment, const PutAside &aside) override;
    std::set<std::string> held_keys(const TopicPartition &place) override;
    std::optional<bool> redrive_one() override;

  private:
    // What of a part is still to be done, in its order.
    using Left = std::vector<const Entry *>;

    Left pass_fence(std::span<const Entry> part, const Assignment &assignment, Applied &applied);
    void drop_known(Left &left, IdColumns *encoded, Applied &applied);
    void set_aside_held(Left &left, const Assignment &assignment, Applied &applied);
    void store(MessageColumns &columns, std::size_t count, Applied &applied);
    bool put_aside(const Entry &entry, const PutAside *aside);
    std::optional<SqlError> refused_again(const std::string &id);
    void put_back(const std::string &id, int attempts, const SqlError &refused);
    Session &alone();

    const DatabaseOptions &database_;
    const InboxOptions &options_;
    const StopSignal &stop_;
    std::function<int()> beat_;
    std::unique_ptr<Session> session_;
    Handler handler_;
};

} // namespace once::inbox
