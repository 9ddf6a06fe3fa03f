package e2e

import (
	"syscall"
	"testing"
	"time"
)

const (
	// frozen is shorter than an instance counts as alive without announcing itself, and longer than a session that
	// ends waits for Redis.
	frozen = 8 * time.Second
	// mended is how long after that nobody may be kept out by what could not be written.
	mended = 6 * time.Second
)

// TestSessionsThatEndWhileRedisIsFrozen: they are taken out when it is back, and that is told.
func TestSessionsThatEndWhileRedisIsFrozen(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_SESSION_POLICY": "reject"}})
	bob, ann, carol := s.connect(0, "bob"), s.connect(0, "ann"), s.connect(1, "carol")
	bob.tells("ann", say("hello"), 1, true)
	bob.tells("carol", say("hello"), 1, true)
	bob.awaitPushes("dm:ann:bob", 1) // he is subscribed to both
	bob.awaitPushes("dm:bob:carol", 1)
	begun := time.Now()
	if err := s.redis.Pause(); err != nil {
		t.Fatal(err)
	}
	ann.close()
	carol.close()
	tried := make(chan error, 1)
	go func() { // a login that nobody knows the outcome of
		_, _, err := dialBare(s.instances[0].ws(), token("dave"), nil)
		tried <- err
	}()
	time.Sleep(frozen - time.Since(begun))
	if err := s.redis.Resume(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	for _, user := range []string{"ann", "carol"} {
		bob.awaitSeen(user, 1, false)
		s.awaitLogin(mended-time.Since(back), 1, user)
		bob.awaitSeen(user, 2, true)
	}
	t.Logf("told, and let in again, %v after Redis was back", time.Since(back).Round(time.Millisecond))
	if err := <-tried; err != nil {
		s.awaitLogin(max(time.Second, mended-time.Since(back)), 1, "dave")
	}
	bob.lives()
}

// TestAnInstanceThatWasFrozen is taken for dead by the others, and its users are told to be there again when it is not.
func TestAnInstanceThatWasFrozen(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	ann, bob, phone := s.connect(0, "ann"), s.connect(1, "bob"), s.connect(1, "bob")
	carol := s.connect(1, "carol")
	ann.tells("bob", say("hello"), 1, true)
	ann.tells("carol", say("hello"), 1, true)
	ann.awaitPushes("dm:ann:bob", 1) // she is subscribed to both
	ann.awaitPushes("dm:ann:carol", 1)
	begun := time.Now()
	s.instances[1].signal(syscall.SIGSTOP)
	ann.awaitSeen("bob", 1, false)
	ann.awaitSeen("carol", 1, false)
	second := s.connect(0, "carol") // who logs in elsewhere is there, and is told so once
	ann.awaitSeen("carol", 2, true)
	if bob := ann.presence("bob")["bob"]; bob.Online {
		t.Errorf("bob on a frozen instance: got %+v, want offline", bob)
	}
	t.Logf("taken for dead after %v", time.Since(begun).Round(time.Millisecond))
	back := time.Now()
	s.instances[1].signal(syscall.SIGCONT)
	ann.awaitSeen("bob", 2, true)
	t.Logf("told to be back after %v", time.Since(back).Round(time.Millisecond))
	if bob := ann.presence("bob")["bob"]; !bob.Online {
		t.Errorf("bob on an instance that is back: got %+v, want online", bob)
	}
	for _, c := range []*client{bob, phone, carol, second} {
		c.lives()
	}
	bob.close()
	phone.do("ping", nil, nil)
	for n, want := range map[string]int{"bob": 2, "carol": 2} {
		got := 0
		for _, f := range ann.seen() {
			if f.Event == "presence" && f.User == n {
				got++
			}
		}
		if got != want {
			t.Errorf("events presence of %s: got %d, want %d: %s", n, got, want, rawOf(ann.seen()))
		}
	}
	phone.close()
	ann.awaitSeen("bob", 3, false)
}

// TestALoginThatReplacedAFrozenOne: whoever came in while the other's instance stood still stays, and the other goes.
func TestALoginThatReplacedAFrozenOne(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_SESSION_POLICY": "reject"}})
	former, bystander := s.connect(1, "ann"), s.connect(1, "bob")
	s.instances[1].signal(syscall.SIGSTOP)
	var later *client
	await(t, patience, "ann is let in elsewhere", func() (bool, any) {
		c, err := s.dial(s.instances[0], "ann", nil)
		later = c
		return err == nil, err
	})
	s.instances[1].signal(syscall.SIGCONT)
	if bye := former.awaitEvent("goodbye"); bye.Code != 4502 {
		t.Errorf("goodbye of the former login: got %s, want 4502", bye.raw)
	}
	former.awaitClose(4502)
	later.lives()
	bystander.lives()
}
