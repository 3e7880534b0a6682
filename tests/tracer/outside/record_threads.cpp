/* SPDX-License-Identifier: Apache-2.0
 *
 * record_threads.cpp - a C++ program whose threads report to one recorder, and one without any.
 *
 * usage: record_threads TRACE      exit status 0 when all that was reported was recorded
 */
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <firstbit/recorder.h>

namespace
{
constexpr int Threads = 4, Events = 500;

/* Each thread names its own tensors, so that their occurrences do not depend on who comes first. */
void work(fb_recorder *run, int number)
{
    const std::string path = "worker" + std::to_string(number);
    std::vector<float> values(100);

    for (int i = 0; i < Events; i++) {
        for (auto &value : values)
            value = static_cast<float>(number * Events + i);
        fb_recorder_f32(run, FB_PHASE_FORWARD, path.c_str(), "fill", values.data(), 10, 10);
    }
}

void run_all(fb_recorder *run)
{
    std::vector<std::thread> threads;

    fb_recorder_step(run, 1);
    for (int i = 0; i < Threads; i++)
        threads.emplace_back(work, run, i);
    for (auto &thread : threads)
        thread.join();
    fb_recorder_mark(run, "done");
}
} // namespace

int main(int argc, char **argv)
{
    fb_recorder *run = nullptr, *none = nullptr;
    fb_recorder_stats stats;
    fb_error err;

    if (fb_recorder_open(&none, "/no such folder/run.fbt", nullptr, &err) == FB_OK || none != nullptr)
        return 1;
    run_all(none); /* does nothing, and does no harm */
    fb_recorder_get_stats(none, &stats);
    if (stats.events != 0 || fb_recorder_close(none, nullptr) != FB_OK)
        return 1;

    if (fb_recorder_open(&run, argc > 1 ? argv[1] : "threads.fbt", nullptr, &err) != FB_OK)
        return 2;
    run_all(run);
    fb_recorder_get_stats(run, &stats);
    if (stats.events != Threads * Events + 1)
        return 3;
    return fb_recorder_close(run, nullptr) == FB_OK ? 0 : 4;
}
