package client_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/transport/client"
)

// liveAt5 is a client that follows tea and has got to seq 5.
func liveAt5(f *fake, change func(r *running, cfg *client.Config)) (*running, *link) {
	f.t.Helper()
	r := f.start(change)
	r.Follow("tea", 5)
	l := f.welcome()
	l.expectSubscribe("tea", 5).page(5, false)
	require.Equal(f.t, []string{"tea live"}, r.read())
	return r, l
}

func TestFollowReadsPagesThenPushes(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		r.Follow("tea", 2)
		l := f.welcome()
		l.expectSubscribe("tea", 2).page(6, true, 3, 4)
		l.expectSubscribe("tea", 4).page(6, false, 5, 6)
		l.push("tea", 7, 8)
		require.Equal(t, []string{"tea 3", "tea 4", "tea 5", "tea 6", "tea live", "tea 7", "tea 8"}, r.read())
		l.push("tea", 6, 8)
		l.push("coffee", 1) // not followed
		require.Empty(t, r.read())
		l.quiet()
	})
}

func TestPushesBeforeAPageAreHandedOutOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		r.Follow("tea", 2)
		l := f.welcome()
		ask := l.expectSubscribe("tea", 2)
		l.push("tea", 3)    // fits
		l.push("tea", 5, 6) // do not; the page has them
		ask.page(6, false, 3, 4, 5, 6)
		l.push("tea", 7)
		require.Equal(t, []string{"tea 3", "tea 4", "tea 5", "tea 6", "tea live", "tea 7"}, r.read())
		l.quiet()
	})
}

func TestGapIsRepaired(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r, l := liveAt5(f, nil)
		l.push("tea", 8, 9)
		ask := l.expectSubscribe("tea", 5)
		l.push("tea", 10)
		l.quiet()
		require.Empty(t, r.read())
		ask.page(10, false, 6, 7, 8, 9, 10)
		l.push("tea", 11)
		require.Equal(t, []string{"tea 6", "tea 7", "tea 8", "tea 9", "tea 10", "tea live", "tea 11"}, r.read())
	})
}

func TestPrevSeqTellsAHoleFromAGap(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r, l := liveAt5(f, nil)
		l.pushBehind("tea", 5, 8)
		require.Equal(t, []string{"tea hole 6-7 ", "tea 8"}, r.read())
		l.pushBehind("tea", 7, 10) // the hole at the end of a page is known already
		require.Equal(t, []string{"tea hole 9-9 ", "tea 10"}, r.read())
		l.quiet()
		l.pushBehind("tea", 12, 14)
		l.expectSubscribe("tea", 10).page(14, false, 11, 12, 14)
		require.Equal(t, []string{"tea 11", "tea 12", "tea 14", "tea live"}, r.read())
	})
}

func TestHolesOfPagesAreToldInTheirPlace(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		r.Follow("tea", 0)
		l := f.welcome()
		l.expectSubscribe("tea", 0).pageWithHoles(9, false,
			`{"from":1,"to":2,"reason":"expired"},{"from":4,"to":4,"reason":"lost"},{"from":6,"to":9,"reason":"lost"}`, 3, 5)
		l.pushBehind("tea", 5, 10)
		require.Equal(t, []string{
			"tea hole 1-2 expired", "tea 3", "tea hole 4-4 lost", "tea 5", "tea hole 6-9 lost", "tea live", "tea 10",
		}, r.read())
		l.quiet()
	})
}

func TestFollowFromHere(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		r.Follow("tea", client.FromHere)
		l := f.welcome()
		l.expectSubscribe("tea", -1).page(41, false)
		l.push("tea", 42)
		require.Equal(t, []string{"tea live", "tea 42"}, r.read())
		l.close(4000, time.Second)
		f.welcome().expectSubscribe("tea", 42)
	})
}

func TestFollowFromHereTakesWhatTheServersOwnSubscriptionBrings(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		r.Follow("team", client.FromHere)
		l := f.welcome()
		ask := l.expectSubscribe("team", -1)
		l.push("team", 40, 42)
		ask.page(42, false)
		l.expectSubscribe("team", 40).page(42, false, 41, 42)
		require.Equal(t, []string{"team 40", "team 41", "team 42", "team live"}, r.read())
	})
}

func TestFollowWhileConnectedAndUnfollow(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r, l := liveAt5(f, nil)
		r.Follow("tea", 0) // is followed already
		l.quiet()
		r.Follow("coffee", 0)
		ask := l.expectSubscribe("coffee", 0)
		r.Unfollow("coffee")
		l.expect("unsubscribe").ok("{}")
		ask.page(1, false, 1)
		r.Unfollow("tea")
		l.expect("unsubscribe").ok("{}")
		l.push("tea", 6)
		require.Empty(t, r.read())
		l.cut()
		f.welcome().quiet()
	})
}

func TestUnfollowGivesItsTurnToOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		l := f.welcome()
		for n := range 30 {
			r.Follow(groupName(n), 0)
		}
		synctest.Wait()
		for n := range 30 {
			r.Unfollow(groupName(n))
		}
		r.Follow("tea", 0)
		for receive(t, l.requests, "a request").Group != "tea" {
		}
	})
}

func TestResync(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		event  string
		repair bool // with OnRepair
		after  int64
		page   []int64
		want   []string
	}{
		"without a seq goes on from the cursor": {`{"group":"tea"}`, true, 5, []int64{6}, []string{"tea 6", "tea live"}},
		"from a higher seq skips nothing":       {`{"group":"tea","after_seq":9}`, true, 5, []int64{6, 7}, []string{"tea 6", "tea 7", "tea live"}},
		"from a lower seq hands out again": {
			`{"group":"tea","after_seq":3}`, true, 3,
			[]int64{4, 5, 6},
			[]string{"tea repair 4", "tea repair 5", "tea 6", "tea live"},
		},
		"from a lower seq without OnRepair goes on": {`{"group":"tea","after_seq":3}`, false, 5, []int64{6}, []string{"tea 6", "tea live"}},
		"of another group is nothing":               {`{"group":"coffee"},{"group":"tea"}`, true, 5, nil, []string{"tea live"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				r, l := liveAt5(f, func(r *running, cfg *client.Config) {
					if c.repair {
						cfg.OnRepair = func(m client.Message) { r.add("%s repair %d", m.Group, m.Seq) }
					}
				})
				l.write(`{"event":"resync","groups":[` + c.event + `]}`)
				ask := l.expectSubscribe("tea", c.after)
				top := int64(5)
				if len(c.page) > 0 {
					top = c.page[len(c.page)-1]
				}
				ask.page(top, false, c.page...)
				require.Equal(t, c.want, r.read())
				l.quiet()
			})
		})
	}
}

func TestResyncBelowAPageUnderWayStartsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r, l := liveAt5(f, func(r *running, cfg *client.Config) {
			cfg.OnRepair = func(m client.Message) { r.add("repair %d", m.Seq) }
		})
		l.push("tea", 7)
		ask := l.expectSubscribe("tea", 5)
		l.write(`{"event":"resync","groups":[{"group":"tea","after_seq":2}]}`, `{"event":"resync","groups":[{"group":"tea","after_seq":4}]}`)
		ask.page(7, false, 6, 7)
		again := l.expectSubscribe("tea", 2)
		l.push("tea", 6) // fits, and is not to come again
		again.page(7, true, 3, 4)
		l.expectSubscribe("tea", 4).page(7, false, 5, 6, 7)
		require.Equal(t, []string{"tea 6", "repair 3", "repair 4", "repair 5", "tea 7", "tea live"}, r.read())
		l.quiet()
	})
}

// A resync that is read while a hook blocks is told in the place of the one before it, ahead of what the server wrote in
// between: the page does not end it.
func TestResyncsThatWaitAreToldTogetherAndNoneIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		gate := make(chan struct{}, 10)
		r, l := liveAt5(f, func(r *running, cfg *client.Config) {
			note := cfg.OnMessage
			cfg.OnMessage = func(m client.Message) { <-gate; note(m) }
		})
		l.push("tea", 7)
		ask := l.expectSubscribe("tea", 5)
		l.push("tea", 6) // is at the hook
		synctest.Wait()
		l.write(`{"event":"resync","groups":[{"group":"tea"}]}`)
		ask.page(6, false, 6)
		l.write(`{"event":"resync","groups":[{"group":"tea"}]}`)
		synctest.Wait()
		for range 10 {
			gate <- struct{}{}
		}
		l.expectSubscribe("tea", 6).page(7, false, 7)
		require.Equal(t, []string{"tea 6", "tea 7", "tea live"}, r.read())
		l.quiet()
	})
}

func TestRepairGoesOnAfterAReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r, l := liveAt5(f, func(r *running, cfg *client.Config) {
			cfg.OnRepair = func(m client.Message) { r.add("repair %d", m.Seq) }
		})
		l.write(`{"event":"resync","groups":[{"group":"tea","after_seq":2}]}`)
		l.expectSubscribe("tea", 2).page(5, true, 3)
		l.expectSubscribe("tea", 3)
		l.cut()
		f.welcome().expectSubscribe("tea", 3).page(6, false, 4, 5, 6)
		require.Equal(t, []string{"repair 3", "repair 4", "repair 5", "tea 6", "tea live"}, r.read())
	})
}

func TestSubscribeIsRepeated(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(request){
		"when refused for now":       func(r request) { r.fail("unavailable", true, 0) },
		"when told when":             func(r request) { r.fail("rate_limited", true, 3*time.Second) },
		"when nothing comes":         func(request) { time.Sleep(21 * time.Second) },
		"when the page says nothing": func(r request) { r.page(9, true) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				r := f.start(nil)
				r.Follow("tea", 5)
				l := f.welcome()
				started := time.Now()
				for range 2 {
					refuse(l.expectSubscribe("tea", 5))
				}
				l.expectSubscribe("tea", 5).page(6, false, 6)
				require.Positive(t, time.Since(started), "it waits in between")
				require.Equal(t, []string{"tea 6", "tea live"}, r.read())
			})
		})
	}
}

func TestSubscribeRefusedForGoodEndsTheFollowing(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r, l := liveAt5(f, nil)
		r.Follow("secret", 0)
		l.expectSubscribe("secret", 0).fail("not_member", false, 0)
		require.Equal(t, []string{"secret error not_member: no"}, r.read())
		l.cut()
		l = f.welcome()
		l.expectSubscribe("tea", 5).fail("gone", false, 0)
		require.Equal(t, []string{"tea error gone: no"}, r.read())
		l.quiet()
		r.Follow("tea", 5) // may be tried again
		l.expectSubscribe("tea", 5)
	})
}

func TestManyGroupsAreCaughtUpAFewAtATimeInFewFrames(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		const groups = 1000
		r := f.start(nil)
		for n := range groups {
			r.Follow(groupName(n), 0)
		}
		l := f.welcome()
		started := time.Now()
		for answered := 0; answered < groups; {
			synctest.Wait()
			require.LessOrEqual(t, len(l.requests), 20)
			l.expect("subscribe").page(0, false)
			answered++
		}
		require.Len(t, r.read(), groups)
		frames := len(l.frames)
		for range frames {
			require.LessOrEqual(t, <-l.frames, 100)
		}
		require.LessOrEqual(t, float64(frames), 40+80*time.Since(started).Seconds()+1, "frames in %s", time.Since(started))
		l.quiet()
	})
}

func groupName(n int) string {
	name, _ := json.Marshal(n)
	return "group-" + string(name)
}

func TestWhatComesBeyondTheCapIsReadAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		gate := make(chan struct{})
		events := 0
		r := f.start(func(r *running, cfg *client.Config) {
			cfg.Held = 3
			note := cfg.OnMessage
			cfg.OnMessage = func(m client.Message) { <-gate; note(m) }
			cfg.OnEvent = func(string, json.RawMessage) { events++ }
		})
		r.Follow("tea", 0)
		r.Follow("coffee", 0)
		l := f.welcome()
		l.expect("subscribe").page(0, false)
		l.expect("subscribe").page(0, false)
		require.Len(t, r.read(), 2)
		l.push("tea", 1) // is at the hook
		synctest.Wait()
		l.push("tea", 2, 3, 4, 5, 6) // three held, two too many
		l.push("coffee", 1)
		l.write(`{"event":"hot"}`)
		synctest.Wait()
		close(gate)
		for range 2 {
			switch ask := l.expect("subscribe"); ask.Group {
			case "tea":
				require.EqualValues(t, 4, *ask.AfterSeq)
				ask.page(6, false, 5, 6)
			case "coffee":
				require.EqualValues(t, 0, *ask.AfterSeq)
				ask.page(1, false, 1)
			}
		}
		l.push("tea", 7)
		require.ElementsMatch(t, []string{
			"tea 1", "tea 2", "tea 3", "tea 4", "tea 5", "tea 6", "tea live", "tea 7", "coffee 1", "coffee live",
		}, r.read())
		require.Equal(t, 1, events, "the welcome; the hook was busy when the other came")
		l.quiet()
	})
}

func TestPushesDroppedBehindAPageAreNotForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		gate := make(chan struct{}, 100)
		r := f.start(func(r *running, cfg *client.Config) {
			cfg.Held = 1
			note := cfg.OnMessage
			cfg.OnMessage = func(m client.Message) { <-gate; note(m) }
		})
		r.Follow("tea", 0)
		r.Follow("coffee", 0)
		l := f.welcome()
		first, second := l.expect("subscribe"), l.expect("subscribe")
		if first.Group != "tea" {
			first, second = second, first
		}
		second.page(0, false)
		l.push("coffee", 1)
		synctest.Wait()
		l.push("coffee", 2)
		l.push("tea", 1) // over the cap, before its page
		first.page(1, false, 1)
		l.push("tea", 2) // and behind it
		synctest.Wait()
		for range 10 {
			gate <- struct{}{}
		}
		l.expectSubscribe("tea", 1).page(2, false, 2)
		require.ElementsMatch(t, []string{"coffee live", "coffee 1", "coffee 2", "tea 1", "tea 2", "tea live"}, r.read())
		l.quiet()
	})
}
