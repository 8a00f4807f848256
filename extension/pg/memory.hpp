// Memory contexts own memory, RAII owns the switching between them.
#pragma once

#include "pg/boundary.hpp"

#include <string_view>

namespace pg {

// Switches the current memory context for a scope.
class MemoryScope {
  public:
    explicit MemoryScope(MemoryContext context) noexcept
        : previous_(MemoryContextSwitchTo(context)) {}
    ~MemoryScope() { MemoryContextSwitchTo(previous_); }
    MemoryScope(const MemoryScope &) = delete;
    MemoryScope &operator=(const MemoryScope &) = delete;

  private:
    MemoryContext previous_;
};

// The bytes of a varlena datum, detoasted into the current context if it must be. May throw
// pg::Error.
inline std::string_view bytes_of(Datum datum) {
    auto *value = call([&] {
        return pg_detoast_datum_packed(reinterpret_cast<varlena *>(DatumGetPointer(datum)));
    });
    return {VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))};
}

// A text or bytea datum with these bytes, in the current context. May throw pg::Error.
inline Datum varlena_of(std::string_view bytes) {
    return call([&] {
        return PointerGetDatum(
            cstring_to_text_with_len(bytes.data(), static_cast<int>(bytes.size())));
    });
}

} // namespace pg
