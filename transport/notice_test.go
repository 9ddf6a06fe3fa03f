package transport

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func event(name string) []byte { return []byte(`{"event":"` + name + `"}`) }

func removed(group, user string) domain.Notice {
	return domain.Notice{Event: domain.GroupEvent{Group: group, Change: domain.ChangeRemoved, User: user, By: "boss"}.JSON(), Gone: user, Version: newer()}
}

// remove takes a user out as a change does: the channel ends his subscriptions, his notes tell him.
func (s *piped) remove(group, user string) (version int64) {
	n := removed(group, user)
	s.Hub().Noticed(group, n)
	s.b.note(user, domain.Note{Kind: domain.NoteLeft, Group: group, Version: n.Version, Event: n.Event})
	return n.Version
}

func TestNoticesReachTheSubscribersButSome(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		id := s.open()[0].id
		again, bob, cy := s.dial(t, "ann").ready(), s.dial(t, "bob").ready(), s.dial(t, "cy").ready()
		s.Hub().Noticed("g", domain.Notice{Except: id, Event: event("but one connection")})
		s.Hub().Noticed("g", domain.Notice{Except: domain.ExceptUser("ann"), Event: event("but one user")})
		s.Hub().Noticed("g", domain.Notice{Event: event("all")})
		s.Hub().Noticed("g", domain.Notice{})
		s.Hub().Noticed("nowhere", domain.Notice{Event: event("nobody")})
		for c, want := range map[*client][]string{
			ann: {"all"}, again: {"but one connection", "all"}, bob: {"but one connection", "but one user", "all"}, cy: nil,
		} {
			for _, name := range want {
				require.Equal(t, name, c.next().Event)
			}
			c.alive()
		}
	})
}

func TestRemovalEndsTheSubscriptionsOfThatUserOnly(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann, again, bob := s.dial(t, "ann").ready(), s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		s.push("g", 1)
		s.remove("g", "ann")
		s.push("g", 1)
		for _, c := range []*client{ann, again, bob} {
			c.message(1)
			c.changed("g", domain.ChangeRemoved)
		}
		bob.message(2)
		for _, c := range []*client{ann, again, bob} {
			c.alive()
		}
		require.Equal(t, map[string]int{"g": 1}, s.Hub().Online())
		require.Equal(t, []string{"g"}, s.ch.subscribed(), "bob follows it")
		s.Hub().Noticed("g", domain.Notice{Gone: "bob", Version: newer()}) // without a word
		s.push("g", 1)
		bob.alive()
		require.Empty(t, s.ch.subscribed(), "nobody is left")
		require.Empty(t, s.hub.feeds)
	})
}

// He is put in again before he is told that he was out. A client that was let in since would take the event for the end
// of that, so it is told only to one that asks behind it.
func TestSubscribingRightBehindARemoval(t *testing.T) {
	t.Parallel()
	for name, queued := range map[string]bool{"behind it": false, "when it was on its way": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				c := s.dial(t, "ann").ready()
				s.b.accept("r", 1)
				goOn := s.b.stall("Recent")
				c.write(`{"id":1,"op":"pull","group":"r"}`) // what is behind it waits
				synctest.Wait()
				if !queued {
					s.remove("g", "ann")
					synctest.Wait()
				}
				c.write(`{"id":2,"op":"subscribe","group":"g"}`)
				synctest.Wait()
				if queued {
					s.remove("g", "ann")
				}
				s.b.change(func(b *backend) { b.groups["g"].Version = newer() })
				s.b.seat("g", "ann", domain.Member)
				synctest.Wait()
				goOn()
				require.Equal(t, int64(1), *c.next().ID)
				if !queued {
					c.changed("g", domain.ChangeRemoved)
				}
				require.NotNil(t, c.next().OK)
				synctest.Wait()
				s.push("g", 1)
				c.message(1)
				c.ok(`{"id":3,"op":"unsubscribe","group":"g"}`, nil)
				require.Empty(t, s.ch.subscribed(), "counted once")
			})
		})
	}
}

// While pub/sub is cut, a group's channel may tell that the user is in again before his notes tell that he was out.
func TestNoneOfTheUsersOwnChangesIsLeftOut(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.b.change(func(b *backend) { b.silent = true })
		for range 3 {
			out := removed("g", "ann")
			s.b.note("ann", domain.Note{Kind: domain.NoteLeft, Group: "g", Version: out.Version, Event: out.Event})
			in := joined("g", 0)
			s.b.change(func(b *backend) { b.groups["g"].Version = in.Version })
			s.b.note("ann", in)
			s.Hub().Noticed("g", domain.Notice{Event: in.Event, Came: "ann", Version: in.Version})
		}
		s.Hub().Confirmed("g") // the members are asked: he is one
		synctest.Wait()
		s.Hub().UserNotes("ann")
		for range 3 {
			c.changed("g", domain.ChangeRemoved)
			c.changed("g", domain.ChangeJoined)
		}
		s.push("g", 1)
		c.message(1)
		c.alive()
	})
}

func TestDismissalEndsAllSubscriptions(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		clients := []*client{s.dial(t, "ann").ready(), s.dial(t, "ann").ready(), s.dial(t, "bob").ready()}
		s.b.change(func(b *backend) { b.groups["g"].Dismissed = true })
		s.Hub().Noticed("g", domain.Notice{Event: domain.GroupEvent{Group: "g", Change: domain.ChangeDismissed}.JSON(), Dismissed: true})
		for _, c := range clients {
			c.changed("g", domain.ChangeDismissed)
			c.refused(`{"id":1,"op":"subscribe","group":"g"}`, domain.CodeGone)
		}
		require.Empty(t, s.ch.subscribed())
		require.Empty(t, s.Hub().Online())
	})
}

func TestNoticesComeBehindThePageThatIsBeingRead(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.accept("r", 2)
		c := s.dial(t, "cy").ready()
		goOn := s.b.stall("Recent")
		c.write(`{"id":1,"op":"subscribe","group":"r","after_seq":0}`)
		synctest.Wait()
		s.push("r", 1)
		s.Hub().Noticed("r", domain.Notice{Event: event("between")})
		s.push("r", 1)
		synctest.Wait()
		require.Empty(t, c.objects)
		goOn()
		require.Equal(t, []int64{1, 2}, decode[page](t, c.next().OK).seqs())
		c.message(3)
		require.Equal(t, "between", c.next().Event)
		c.message(4)
		c.alive()
	})
}

// Told that it is subscribed, a client would wait for ever.
func TestRemovalWhileThePageIsReadIsTold(t *testing.T) {
	t.Parallel()
	start := func(s *piped, c *client) (goOn func()) {
		s.push("g", 2)
		c.message(1)
		c.message(2)
		goOn = s.b.stall("Recent")
		c.write(`{"id":1,"op":"subscribe","group":"g","after_seq":0}`)
		synctest.Wait()
		s.remove("g", "ann")
		s.b.seat("g", "ann", domain.Outsider)
		s.push("g", 1)
		return goOn
	}
	t.Run("and the page is there", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			c := s.dial(t, "ann").ready()
			start(s, c)()
			require.NotNil(t, c.next().OK)
			c.resync("g")
			c.changed("g", domain.ChangeRemoved)
			c.refused(`{"id":2,"op":"subscribe","group":"g"}`, domain.CodeNotMember)
			require.Empty(t, s.ch.subscribed())
		})
	})
	t.Run("and the page cannot be read", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			c := s.dial(t, "ann").ready()
			start(s, c)
			c.resync("g")
			require.Equal(t, domain.CodeUnavailable, c.next().Error.Code)
			c.changed("g", domain.ChangeRemoved)
			c.alive()
			require.Empty(t, s.ch.subscribed())
		})
	})
}

func TestAfterABreakNothingIsHandedOutBeforeTheMembersAreKnown(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		s.push("g", 1)
		s.b.accept("g", 2) // pushed while pub/sub was broken
		goOn := s.b.stall("Roles")
		s.b.change(func(b *backend) { b.groups["g"].members["bob"] = domain.Outsider })
		s.Hub().Confirmed("g")
		s.push("g", 2)
		synctest.Wait()
		for _, c := range []*client{ann, bob} {
			c.message(1)
			c.alive()
		}
		goOn()
		for seq := int64(2); seq <= 5; seq++ {
			ann.message(seq)
		}
		ann.alive()
		bob.resync("g")
		bob.alive()
		s.push("g", 1)
		ann.message(6)
		bob.alive()
		require.NoError(t, ann.ws.Close())
		synctest.Wait()
		require.Empty(t, s.ch.subscribed())
	})
}

func TestMembersAreAskedUntilTheyAreKnown(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.b.change(func(b *backend) { b.before = failing("Roles") })
		s.Hub().Confirmed("g")
		s.push("g", 3)
		time.Sleep(10 * time.Second)
		require.Empty(t, c.objects)
		require.Contains(t, s.log.String(), "feed not repaired")
		s.b.change(func(b *backend) { b.before = nil })
		for seq := int64(1); seq <= 3; seq++ {
			c.message(seq)
		}
		c.alive()
	})
}

// What was read of the members before a second break says nothing of what happened in it.
func TestASecondBreakWhileTheMembersAreAsked(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		synctest.Wait()
		gate, asked := make(chan struct{}), 0
		s.b.change(func(b *backend) {
			b.before = func(_ context.Context, method string) error {
				if method != "Roles" {
					return nil
				}
				switch asked++; asked {
				case 1:
					s.Hub().Confirmed("g")
				case 2:
					<-gate
				}
				return nil
			}
		})
		s.Hub().Confirmed("g")
		synctest.Wait()
		require.Equal(t, 2, asked)
		s.b.seat("g", "bob", domain.Outsider)
		s.push("g", 1)
		synctest.Wait()
		require.Empty(t, bob.objects)
		close(gate)
		ann.message(1)
		bob.resync("g")
		bob.alive()
	})
}

func TestAChangeThatNobodyToldIsSeenByTheLookAtTheHeads(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		defer s.run(t)()
		ann, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		s.b.seat("g", "bob", domain.Outsider)
		time.Sleep(tailInterval)
		bob.resync("g")
		bob.refused(`{"id":1,"op":"subscribe","group":"g"}`, domain.CodeNotMember)
		s.push("g", 1)
		ann.message(1)
		ann.alive()
		bob.alive()
	})
}

func TestRoomsKeepOutsidersButNoneWhoIsBlocked(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		clients := map[string]*client{}
		for _, user := range []string{"ann", "cy", "dee"} {
			clients[user] = s.dial(t, user).ready()
			clients[user].ok(`{"id":1,"op":"subscribe","group":"r"}`, nil)
		}
		s.b.seat("r", "ann", domain.Member)
		s.b.seat("r", "dee", domain.BlockedIn)
		s.Hub().Confirmed("r")
		clients["dee"].resync("r")
		s.push("r", 1)
		clients["ann"].message(1)
		clients["cy"].message(1)
		clients["dee"].refused(`{"id":2,"op":"subscribe","group":"r"}`, domain.CodeForbidden)
		clients["cy"].alive()
	})
}

func TestWhileNothingIsFlowingAMissingTailIsFetchedAtTheFirstLook(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		defer s.run(t)()
		c := s.dial(t, "ann").ready()
		s.ch.still.Store(true)
		for seq := int64(1); seq <= 5; seq++ {
			s.b.accept("g", 1)
			time.Sleep(pollInterval)
			synctest.Wait()
			require.Len(t, c.objects, 1)
			c.message(seq)
		}
		s.ch.still.Store(false)
		s.b.accept("g", 1)
		time.Sleep(2*tailInterval - pollInterval)
		c.alive() // it may be on its way
		time.Sleep(2 * pollInterval)
		c.message(6)
	})
}

func TestAGroupThatIsGoneEndsItsSubscriptionsAtTheNextLook(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		defer s.run(t)()
		ann, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		s.b.change(func(b *backend) { b.groups["g"].Dismissed = true })
		time.Sleep(tailInterval)
		for _, c := range []*client{ann, bob} {
			c.resync("g")
			c.refused(`{"id":1,"op":"subscribe","group":"g"}`, domain.CodeGone)
		}
		require.Empty(t, s.ch.subscribed())
		time.Sleep(2 * tailInterval)
		ann.alive()
	})
}

func TestEchoFalseHoldsForWhatIsRepaired(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann := s.dial(t, "ann").ready()
		id := s.open()[0].id
		again, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		s.b.change(func(b *backend) { b.store(b.groups["g"], "ann", id, textBody("mine")) }) // its push is lost
		s.push("g", 1)
		require.Nil(t, ann.message(2).PrevSeq)
		for _, c := range []*client{again, bob} {
			c.message(1)
			c.message(2)
			c.alive()
		}
		ann.alive()
	})
}

// Whoever has heard of every change need not ask who is a member; a change that was not heard of shows in the version.
func TestMembersAreAskedOnlyAboutWhatWasNotHeard(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		stop := s.run(t)
		defer stop()
		c := s.dial(t, "ann").ready()
		var asked atomic.Int64
		s.b.change(func(b *backend) {
			b.before = func(_ context.Context, method string) error {
				if method == "Roles" {
					asked.Add(1)
				}
				return nil
			}
		})
		s.b.seat("g", "dee", domain.Member)
		var version int64
		s.b.change(func(b *backend) { version = b.groups["g"].Version })
		event := domain.GroupEvent{Group: "g", Change: domain.ChangeJoined, User: "dee"}.JSON()
		s.Hub().Noticed("g", domain.Notice{Event: event, Came: "dee", Version: version})
		c.changed("g", domain.ChangeJoined)
		time.Sleep(2 * tailInterval)
		require.Zero(t, asked.Load())
		s.b.seat("g", "eve", domain.Member) // in silence
		time.Sleep(2 * tailInterval)
		require.Equal(t, int64(1), asked.Load())
		c.alive()
	})
}
