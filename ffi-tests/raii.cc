// SPDX-License-Identifier: MIT OR Apache-2.0
// The header in C++17: owners that give back, errors as exceptions, a range of connections.
#include <array>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "conntab.h"

namespace {

struct error : std::runtime_error {
    explicit error(int number) : std::runtime_error(conntab_strerror(number)), number(number) {}
    int number;
};

int checked(int result) {
    if (result < 0) {
        throw error(result);
    }
    return result;
}

template <typename T, void (*give_back)(T *)> struct give {
    void operator()(T *what) const noexcept { give_back(what); }
};

class worker {
  public:
    explicit worker(const conntab_table *table) {
        conntab_worker *made = nullptr;
        checked(conntab_worker_new(table, &made));
        owned.reset(made);
    }
    template <std::size_t n>
    void track(std::uint64_t now, const std::array<conntab_packet, n> &packets, std::array<conntab_verdict, n> &verdicts) {
        checked(conntab_track(owned.get(), now, packets.data(), n, verdicts.data()));
    }
    template <std::size_t n> int confirm(std::uint64_t now, std::array<conntab_verdict, n> &verdicts, std::uint64_t keep) {
        return checked(conntab_confirm(owned.get(), now, verdicts.data(), n, keep));
    }
    void set_mark(std::uint64_t conn, std::uint32_t mark) { checked(conntab_set_mark(owned.get(), conn, mark)); }

  private:
    std::unique_ptr<conntab_worker, give<conntab_worker, conntab_worker_free>> owned;
};

class table {
  public:
    explicit table(const conntab_config &config) {
        conntab_table *made = nullptr;
        checked(conntab_table_new(&config, sizeof config, &made));
        owned.reset(made);
    }
    void each(std::uint64_t now, const std::function<void(const conntab_connection &)> &see) const {
        std::unique_ptr<conntab_dump, give<conntab_dump, conntab_dump_free>> walk(conntab_dump_new(owned.get(), now));
        conntab_connection connection;
        while (checked(conntab_dump_next(walk.get(), &connection, sizeof connection)) == 1) {
            see(connection);
        }
    }
    const conntab_table *get() const noexcept { return owned.get(); }

  private:
    std::unique_ptr<conntab_table, give<conntab_table, conntab_table_free>> owned;
};

std::string line(const conntab_connection &connection) {
    std::string text(conntab_connection_text(&connection, sizeof(conntab_connection), nullptr, 0), '\0');
    conntab_connection_text(&connection, sizeof(conntab_connection), text.data(), text.size() + 1);
    return text;
}

void must(bool holds, const char *what) {
    if (!holds) {
        throw std::logic_error(what);
    }
}

} // namespace

int main() try {
    conntab_config config;
    checked(conntab_config_init(&config, sizeof config));
    config.max = 1024;
    config.workers = 2;
    config.prefault = 0;
    table connections(config);

    const std::array<std::uint8_t, 28> query{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10,   1, 0, 1,
                                             10,   2, 0, 1,  0x13, 0x88, 0, 53, 0, 8, 0, 0};
    std::thread([&connections, &query] {
        worker mine(connections.get());
        std::array<conntab_packet, 1> packets{};
        packets[0].l3 = query.data();
        packets[0].caplen = packets[0].len = query.size();
        std::array<conntab_verdict, 1> verdicts{};
        mine.track(1000, packets, verdicts);
        must(verdicts[0].state == CONNTAB_NEW, "a new connection");
        must(mine.confirm(1000, verdicts, 1) == 1, "it enters");
        mine.set_mark(verdicts[0].conn, 7);
    }).join();

    std::vector<std::string> lines;
    connections.each(1000, [&lines](const conntab_connection &connection) { lines.push_back(line(connection)); });
    must(lines.size() == 1, "one connection");
    must(lines[0].find("udp      17 30 src=10.1.0.1 dst=10.2.0.1 sport=5000 dport=53 [UNREPLIED]") != std::string::npos,
         "its line");
    must(lines[0].find("mark=7") != std::string::npos, "its mark");

    try {
        worker one(connections.get()), two(connections.get()), three(connections.get());
        must(false, "there are two workers");
    } catch (const error &refused) {
        must(refused.number == CONNTAB_EUSERS, refused.what());
    }
    worker moved = [&connections] { return worker(connections.get()); }();
    worker elsewhere = std::move(moved);
    try {
        elsewhere.set_mark(0, 1);
        must(false, "there is no connection 0");
    } catch (const error &refused) {
        must(refused.number == CONNTAB_ENOENT, refused.what());
    }
    std::puts("C++: all is well");
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
