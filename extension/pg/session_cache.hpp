// What a session remembers of the catalog and of tables, and how it learns that they changed.
//
// PostgreSQL has ten slots for relcache callbacks in a whole server process, for every extension
// together: this library takes one. A tag runs at any time, in the middle of anything: it may only
// mark.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <utils/inval.h>
}

#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>

namespace pg {

// `relation` InvalidOid: anything may have changed.
using RelationChanged = void (*)(void *self, Oid relation) noexcept;

struct RelationWatchers {
    static constexpr int kMost = 16; // of this library
    struct Watcher {
        RelationChanged changed;
        void *self;
    };
    Watcher watcher[kMost];
    int count = 0;
};
inline RelationWatchers relation_watchers;

inline void tell_relation_watchers(Datum, Oid relation) {
    for (int i = 0; i < relation_watchers.count; ++i)
        relation_watchers.watcher[i].changed(relation_watchers.watcher[i].self, relation);
}

// From now on changed(self, relation) is called for every relation whose definition somebody
// changed. Cheap when it is asked again. Server world.
inline void watch_relations(RelationChanged changed, void *self = nullptr) {
    RelationWatchers &all = relation_watchers;
    for (int i = 0; i < all.count; ++i)
        if (all.watcher[i].changed == changed && all.watcher[i].self == self)
            return;
    if (all.count == RelationWatchers::kMost)
        elog(ERROR, "too many watchers of relations");
    if (all.count == 0)
        CacheRegisterRelcacheCallback(tell_relation_watchers, 0);
    all.watcher[all.count++] = {changed, self};
}

struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const noexcept {
        return std::hash<std::string_view>{}(text);
    }
};

// Values by name, read from one table. Everything is forgotten when the table is invalidated (a
// trigger on it does that for a change of its rows), and when there are more than `most`: names
// come from callers, and a session must not collect them without end. A static object.
template <typename Value> class SessionCache {
  public:
    explicit SessionCache(size_t most) : most_(most) {}
    SessionCache(const SessionCache &) = delete;
    SessionCache &operator=(const SessionCache &) = delete;

    // load(name) → shared_ptr<const Value>, null for what is not there (not remembered). What
    // changed while it was read is good for this call only.
    template <typename Load>
    std::shared_ptr<const Value> get(Oid table, std::string_view name, Load &&load) {
        call([&] { watch_relations(changed, this); });
        if (table_ != table || stale_ || values_.size() >= most_) {
            values_.clear();
            table_ = table; // another one after DROP and CREATE EXTENSION
            stale_ = false;
        }
        if (const auto known = values_.find(name); known != values_.end())
            return known->second;
        std::shared_ptr<const Value> value = load(name);
        if (value && !stale_)
            values_.emplace(std::string(name), value);
        return value;
    }

    // Whether what get() last gave may be out of date: to be asked again once a lock is held,
    // because the messages come in with the lock.
    [[nodiscard]] bool stale() const noexcept { return stale_; }

  private:
    static void changed(void *self, Oid relation) noexcept {
        auto *cache = static_cast<SessionCache *>(self);
        if (!OidIsValid(relation) || relation == cache->table_)
            cache->stale_ = true;
    }

    size_t most_;
    std::unordered_map<std::string, std::shared_ptr<const Value>, StringHash, std::equal_to<>>
        values_;
    Oid table_ = InvalidOid;
    bool stale_ = false;
};

} // namespace pg
