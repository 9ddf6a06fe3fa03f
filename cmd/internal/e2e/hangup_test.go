package e2e

import (
	"syscall"
	"testing"
)

// TestSIGHUP: an instance without a word list has nothing to read again, says so and goes on.
func TestSIGHUP(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	s.createGroup("group", "g", "ann")
	ann := s.connect(0, "ann")
	i := s.instances[0]
	i.signal(syscall.SIGHUP)
	await(t, patience, "it says so", func() (bool, any) {
		if err := i.running(); err != nil {
			t.Fatal(err)
		}
		return containsLine(i.logged(), "SIGHUP", "restart"), string(i.logged())
	})
	ann.send("g", say("still here"))
}
