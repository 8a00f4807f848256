#include "digest/sha256.hpp"

#include <new>
#include <stdexcept>

namespace once {
namespace {

void require(int done) {
    if (done != 1)
        throw std::runtime_error("OpenSSL could not compute SHA-256");
}

const EVP_MD *algorithm() {
#if OPENSSL_VERSION_MAJOR >= 3
    static const EVP_MD *fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    return fetched;
#else
    return EVP_sha256();
#endif
}

} // namespace

Sha256::Context Sha256::spare[2];

Sha256::Sha256() {
    for (Context &kept : spare)
        if (!context_)
            context_ = std::move(kept);
    if (!context_)
        context_.reset(EVP_MD_CTX_new());
    if (!context_)
        throw std::bad_alloc();
}

Sha256::~Sha256() {
    for (Context &kept : spare)
        if (!kept)
            kept = std::move(context_);
}

void Sha256::start() {
    if (!started_)
        require(EVP_DigestInit_ex(context_.get(), algorithm(), nullptr));
    started_ = true;
}

void Sha256::update(const void *data, size_t size) {
    start();
    require(EVP_DigestUpdate(context_.get(), data, size));
}

Sha256::Digest Sha256::finish() {
    Digest digest;
    start();
    require(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr));
    started_ = false;
    return digest;
}

} // namespace once
