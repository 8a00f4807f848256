/*
 * Preloaded beside the sanitizers' runtime. That of GCC 12 unlocks glibc's lock of message catalogues once too often
 * while it starts; a program that binds a catalogue, as the server does, then waits for ever. Tests need no catalogues.
 */
char *bindtextdomain(const char *domain, const char *folder) { return (char *)folder; }
char *bind_textdomain_codeset(const char *domain, const char *codeset) { return (char *)codeset; }
char *textdomain(const char *domain) { return (char *)domain; }
