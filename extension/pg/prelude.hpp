// The server's headers, in the one order that compiles as C++. Every extension source includes this
// first. Nothing else includes <postgres.h>; what differs between server versions is in compat.hpp
// alone.
#pragma once

extern "C" {
#include <postgres.h>

#include <access/xact.h>
#include <catalog/pg_type.h>
#include <executor/spi.h>
#include <fmgr.h>
#include <funcapi.h>
#include <miscadmin.h>
#include <utils/builtins.h>
#include <utils/memutils.h>
}

// The server's port.h renames the printf family by macro; C++ headers after it must see the real
// names.
#undef snprintf
#undef vsnprintf
#undef sprintf
#undef vsprintf
#undef fprintf
#undef vfprintf
#undef printf
#undef vprintf
#undef strerror
#undef strerror_r
#undef gettext
#undef dgettext
#undef ngettext
#undef dngettext
