package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/transport/client"
)

func all(_ *running, cfg *client.Config) { cfg.All = true }

func TestAllLearnsTheGroupsPageByPage(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(all)
		l := f.welcome()
		l.expect("sync").ok(`{"results":[{"group":"a","type":"group","max_seq":5},{"group":"r","type":"room","max_seq":9}],"cursor":"next"}`)
		l.expectSubscribe("a", 5).page(6, false, 6)
		ask := l.expect("sync")
		require.Equal(t, "next", ask.Cursor)
		ask.fail("unavailable", true, 0)
		l.expect("sync").ok(`{"results":[{"group":"dm:ann:bob","type":"direct","max_seq":2}]}`)
		l.expectSubscribe("dm:ann:bob", 2).page(2, false)
		require.Equal(t, []string{"a 6", "a live", "dm:ann:bob live"}, r.read())
		l.quiet()

		l.close(4000, time.Second)
		l = f.welcome()
		want := map[string]int64{"a": 6, "dm:ann:bob": 2}
		for range 3 {
			r := receive(t, l.requests, "a request")
			if r.Op == "subscribe" {
				require.Equal(t, want[r.Group], *r.AfterSeq)
			}
		}
	})
}

func TestAllStartsWithTheFirstPushAfterTheWelcome(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(all)
		l := f.welcome()
		ask := l.expect("sync")
		l.push("a", 4) // before its group is known
		first := l.expectSubscribe("a", 4)
		ask.ok(`{"results":[{"group":"a","type":"group","max_seq":4},{"group":"b","type":"group","max_seq":8}]}`)
		second := l.expectSubscribe("b", 8)
		l.push("b", 7, 8, 9) // the head was read before these came
		first.page(4, false)
		second.page(9, false, 9)
		l.push("b", 10)
		require.Equal(t, []string{"a 4", "b 7", "b 8", "b 9", "a live", "b live", "b 10"}, r.read())
		l.quiet()
	})
}

func TestAllFollowsNewGroups(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(all)
		l := f.welcome()
		l.expect("sync").ok(`{"results":[]}`)
		l.write(
			`{"event":"group","group":"a","change":"joined","user":"ann"}`,
			`{"event":"group","group":"b","change":"joined","user":"bob"}`,
			`{"event":"group","group":"c","change":"updated"}`,
		)
		ask := l.expectSubscribe("a", -1)
		l.push("a", 3, 4)
		ask.page(4, false)
		l.push("d", 8) // no event needed
		l.expectSubscribe("d", 8).page(8, false)
		require.Equal(t, []string{"a 3", "a 4", "a live", "d 8", "d live"}, r.read())
		l.write(`{"event":"resync","groups":[{"group":"e","after_seq":3}]}`)
		l.expectSubscribe("e", -1)
		l.quiet()
	})
}

func TestAllLeavesOutWhatWasUnfollowed(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(all)
		r.Unfollow("a")
		l := f.welcome()
		l.expect("sync").ok(`{"results":[{"group":"a","type":"group","max_seq":5}]}`)
		l.push("a", 6)
		require.Empty(t, r.read())
		l.quiet()
		r.Follow("a", 5)
		l.expectSubscribe("a", 5).page(6, false, 6)
		require.Equal(t, []string{"a 6", "a live"}, r.read())
	})
}

func TestAllTellsThatTheListWasRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(all)
		f.welcome().expect("sync").fail("bad_request", false, 0)
		require.Equal(t, []string{" error bad_request: no"}, r.read())
	})
}

func TestTheListIsNotAskedForWhileThereIsNoConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		f.start(all)
		l := f.welcome()
		l.expect("sync").fail("unavailable", true, 5*time.Second)
		l.close(4000, 20*time.Second)
		f.welcome().expect("sync")
	})
}

func TestAGroupFirstSeenOverTheCapIsReadFromThere(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		gate := make(chan struct{})
		r := f.start(func(r *running, cfg *client.Config) {
			cfg.All, cfg.Held = true, 1
			note := cfg.OnMessage
			cfg.OnMessage = func(m client.Message) { <-gate; note(m) }
		})
		l := f.welcome()
		l.expect("sync").ok(`{"results":[]}`)
		l.push("a", 1) // is at the hook
		synctest.Wait()
		l.push("b", 5)
		l.push("c", 7, 8)
		require.Empty(t, r.read())
		close(gate)
		for _, want := range []struct {
			group string
			after int64
			seqs  []int64
		}{{"a", 1, nil}, {"b", 5, nil}, {"c", 6, []int64{7, 8}}} {
			l.expectSubscribe(want.group, want.after).page(8, false, want.seqs...)
		}
		require.Equal(t, []string{"a 1", "b 5", "a live", "b live", "c 7", "c 8", "c live"}, r.read())
	})
}
