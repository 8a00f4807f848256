// What others on this machine could read of us: the command line in ps, a core file,
// /proc/PID/environ.
#pragma once

namespace once {

// Passwords in the arguments are overwritten, so call it when they are parsed. For a moment they
// were there: a file or the environment is the better place.
void hide_secrets(int argc, char **argv);

// No core file and no debugger of the same user: either would show passwords and payloads.
void keep_memory_private();

} // namespace once
