#include "comm/failure/launcher_signal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <cstdlib>

namespace spd {
namespace {

constexpr const char* kStarted = "OMPI_MCA_orte_hnp_uri";
constexpr const char* kTime = "OMPI_MCA_oob_tcp_keepalive_time";
constexpr const char* kInterval = "OMPI_MCA_oob_tcp_keepalive_intvl";
constexpr const char* kProbes = "OMPI_MCA_oob_tcp_keepalive_probes";

struct LauncherPatience : testing::Test {
  void SetUp() override {
    for (const char* name : {kStarted, kTime, kInterval, kProbes}) unsetenv(name);
  }
  void TearDown() override { SetUp(); }
};

TEST_F(LauncherPatience, IsUnknownWithoutMpirun) {
  setenv(kTime, "10", 1);
  EXPECT_FALSE(launcher_keepalive_s());
}

TEST_F(LauncherPatience, IsTheKeepAliveOfMpirunsConnections) {
  setenv(kStarted, "1.0;tcp://192.0.2.1:1", 1);
  EXPECT_EQ(launcher_keepalive_s(), 480.0);  // Open MPI's own: 300 s, then 9 times 20 s
  setenv(kTime, "10", 1);
  setenv(kInterval, "3", 1);
  setenv(kProbes, "2", 1);
  EXPECT_EQ(launcher_keepalive_s(), 16.0);
  setenv(kTime, "0", 1);
  EXPECT_TRUE(std::isinf(*launcher_keepalive_s()));
}

TEST(LauncherSignal, IsReceivedAsSigcontAfterItWasMade) {
  listen_to_launcher();
  std::raise(SIGCONT);
  const LauncherSignal signal;
  EXPECT_FALSE(signal.received());
  std::raise(SIGCONT);
  EXPECT_TRUE(signal.received());
}

}  // namespace
}  // namespace spd
