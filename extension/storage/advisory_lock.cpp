#include "storage/advisory_lock.hpp"

#include "digest/digest.hpp"

extern "C" {
#include <miscadmin.h>
}

namespace once {

LOCKTAG lock_tag(LockClass lock_class, uint32 high, uint32 low) {
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, high, low, static_cast<uint16>(lock_class));
    return tag;
}

LOCKTAG lock_tag(LockSpace space, std::string_view name) {
    const char prefix[] = {static_cast<char>(space)};
    const Digest128 hash = digest128({std::string_view(prefix, 1), name});
    return lock_tag(LockClass::names, load32(hash, 0), load32(hash, 4));
}

} // namespace once
