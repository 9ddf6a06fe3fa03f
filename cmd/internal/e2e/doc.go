// Package e2e holds the end-to-end tests: the real hearth binary, several processes of it on a real Redis and a real
// MariaDB, and clients that know nothing but PROTOCOL.md. It has no code of its own beside the tests.
//
// main_test.go builds the binary; stack_test.go and instance_test.go start, freeze and kill what a test needs;
// client_test.go and http_test.go talk; persistent_test.go has the senders and followers that go on through faults.
// Everything else is one theme a file.
//
// HEARTH_TEST_LONG=1 makes outages last a minute instead of seconds; HEARTH_TEST_RACE=1 builds the binary with the
// race detector.
package e2e
