// Package testserver starts real redis-server, mariadbd and nginx processes for tests and for programs that need a
// throw-away stack. They listen on free ports of 127.0.0.1, keep their data in temporary folders and die with
// the process that started them.
//
// [Redis] and [MySQL] are shared by all tests of a process; [StartRedis], [StartMySQL] and [StartNginx] give a test its
// own, to be killed, frozen and restarted; [LaunchRedis], [LaunchMySQL] and [LaunchNginx] work without a test. A
// [Proxy] in front of a server fails as networks do: it cuts or stalls connections and loses replies. A package that
// uses any of the servers ends its tests with
//
//	func TestMain(m *testing.M) { os.Exit(testserver.Run(m)) }
//
// or, with goroutine leaks checked behind the servers' end,
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Main{M: m}) }
//
// When a server is not installed, tests skip; under CI=true or with HEARTH_TEST_REQUIRE_SERVERS set they fail.
package testserver
