package transport

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/transport/auth"
)

// joined is the note that a user is in a group now; left that he is not any more.
func joined(group string, after int64) domain.Note {
	return domain.Note{
		Kind: domain.NoteJoined, Group: group, Version: newer(), After: after,
		Event: domain.GroupEvent{Group: group, Change: domain.ChangeJoined, User: "cy"}.JSON(),
	}
}

func left(group string) domain.Note {
	return domain.Note{
		Kind: domain.NoteLeft, Group: group, Version: newer(),
		Event: domain.GroupEvent{Group: group, Change: domain.ChangeRemoved, User: "cy", By: "ann"}.JSON(),
	}
}

// changed reads the next object, which must be the event group with this change.
func (c *client) changed(group, change string) {
	c.t.Helper()
	o := c.next()
	require.Equal(c.t, "group", o.Event, o.raw)
	require.Equal(c.t, []string{group, change}, []string{o.Group, o.Change}, o.raw)
}

func TestJoiningSubscribesFromTheMessageBehind(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.accept("g", 3)
		c, other, bystander := s.dial(t, "cy").ready(), s.dial(t, "cy").ready(), s.dial(t, "dee").ready()
		s.b.seat("g", "cy", domain.Member)
		s.b.accept("g", 2)
		s.b.note("cy", joined("g", 3))
		for _, c := range []*client{c, other} {
			c.changed("g", domain.ChangeJoined)
			require.Nil(t, c.message(4).PrevSeq)
			c.message(5)
		}
		s.push("g", 1)
		for _, c := range []*client{c, other} {
			require.Nil(t, c.message(6).PrevSeq)
			c.alive()
		}
		bystander.alive()
		require.Equal(t, map[string]int{"g": 1}, s.Hub().Online())
		require.NoError(t, c.ws.Close())
		require.NoError(t, other.ws.Close())
		synctest.Wait()
		require.Empty(t, s.ch.subscribed())
	})
}

// Messages go on coming, by pub/sub or not, however long the reads take.
func TestJoiningMissesNothingThatIsSaidMeanwhile(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"pushed": false, "their pushes lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				c := s.dial(t, "cy").ready()
				s.b.change(func(b *backend) {
					b.before = func(context.Context, string) error { time.Sleep(30 * time.Millisecond); return nil }
				})
				s.b.accept("g", 10)
				s.b.note("cy", joined("g", 4))
				const n = 100
				for range n {
					time.Sleep(7 * time.Millisecond)
					for _, p := range s.b.accept("g", 1) {
						if !lost {
							s.Hub().Published(p)
						}
					}
				}
				s.push("g", 1)
				c.changed("g", domain.ChangeJoined)
				for seq := int64(5); seq <= 10+n+1; seq++ {
					require.Nil(t, c.message(seq).PrevSeq)
				}
				c.alive()
			})
		})
	}
}

func TestJoiningTellsOfHolesAndLeavesMutedOnesOut(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.accept("g", 2)
		s.b.skip("g", 2) // 3, 4
		s.b.accept("g", 1)
		s.b.skip("g", 1) // 6
		c := s.dial(t, "cy").ready()
		s.b.change(func(b *backend) { b.store(b.groups["g"], "cy", s.open()[0].id, textBody("mine")) }) // 7
		s.b.skip("g", 2)                                                                                // 8, 9
		s.b.note("cy", joined("g", 2))
		c.changed("g", domain.ChangeJoined)
		require.Equal(t, int64(2), c.message(5).prev())
		s.push("g", 1)
		require.Equal(t, int64(7), c.message(10).prev(), "7 is known by its ack")
		c.alive()
	})
}

// What a call has answered before the client unsubscribes must not subscribe it afterwards, however late it is heard of.
func TestUnsubscribingComesBehindAJoin(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		s.b.change(func(b *backend) { b.silent = true })
		s.b.note("cy", joined("r", 0))
		c.ok(`{"id":1,"op":"unsubscribe","group":"r"}`, nil)
		s.Hub().UserNotes("cy")
		synctest.Wait()
		c.alive()
		require.Empty(t, s.ch.subscribed())
		again := joined("r", 0)
		again.Event = nil // he is in already, and was named once more
		s.b.note("cy", again)
		s.Hub().UserNotes("cy")
		synctest.Wait()
		require.Empty(t, s.ch.subscribed())
		s.b.note("cy", joined("r", 0)) // out, and in again
		s.Hub().UserNotes("cy")
		c.changed("r", domain.ChangeJoined)
		synctest.Wait()
		require.Equal(t, []string{"r"}, s.ch.subscribed())
	})
}

// A removal from before the join may be told while the join subscribes.
func TestAStaleRemovalDoesNotEndAJoinUnderWay(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		stale := newer()
		goOn := s.b.stall("Recent")
		s.b.accept("g", 2)
		s.b.note("cy", joined("g", 0))
		synctest.Wait()
		s.Hub().Noticed("g", domain.Notice{Gone: "cy", Version: stale})
		goOn()
		c.changed("g", domain.ChangeJoined)
		c.message(1)
		c.message(2)
		s.push("g", 1)
		c.message(3)
	})
}

func TestJoiningWhereOneIsSubscribedChangesNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		s.push("r", 3)
		c.ok(`{"id":1,"op":"subscribe","group":"r","after_seq":2}`, nil)
		n := joined("r", 0)
		s.b.note("cy", n)
		c.changed("r", domain.ChangeJoined)
		s.Hub().Noticed("r", domain.Notice{Event: n.Event, Came: "cy", Version: n.Version}) // told already
		s.push("r", 1)
		c.message(4)
		c.alive()
		c.ok(`{"id":2,"op":"unsubscribe","group":"r"}`, nil)
		require.Empty(t, s.ch.subscribed(), "counted once")
	})
}

func TestJoiningBehindMoreThanCanBePushed(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		const pushed = maxJoinPages * domain.MaxPage
		s.b.accept("g", pushed+1)
		c := s.dial(t, "cy").ready()
		s.b.seat("g", "cy", domain.Member)
		s.b.note("cy", joined("g", 0))
		c.changed("g", domain.ChangeJoined)
		for seq := int64(1); seq <= pushed; seq++ {
			c.message(seq)
		}
		require.Equal(t, fmt.Sprintf(`{"event":"resync","groups":[{"group":"g","after_seq":%d}]}`, pushed), c.next().raw)
		s.push("g", 1)
		c.alive()
		require.Empty(t, s.ch.subscribed())
		var p page
		c.ok(fmt.Sprintf(`{"id":1,"op":"subscribe","group":"g","after_seq":%d}`, pushed), &p)
		require.Equal(t, []int64{pushed + 1, pushed + 2}, p.seqs())
	})
	inBubble(t, nil, func(t *testing.T, s *piped) { // as many as can be
		s.b.accept("g", maxJoinPages*domain.MaxPage)
		c := s.dial(t, "cy").ready()
		s.b.note("cy", joined("g", 0))
		c.changed("g", domain.ChangeJoined)
		for seq := int64(1); seq <= maxJoinPages*domain.MaxPage; seq++ {
			c.message(seq)
		}
		s.push("g", 1)
		c.message(maxJoinPages*domain.MaxPage + 1)
		c.alive()
	})
}

func TestJoiningThatFailsIsAResync(t *testing.T) {
	t.Parallel()
	for name, method := range map[string]string{"the head": "Heads", "the page": "Recent"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				s.b.accept("g", 3)
				ann := s.dial(t, "ann").ready() // the feed is there
				c := s.dial(t, "cy").ready()
				s.b.seat("g", "cy", domain.Member)
				s.b.change(func(b *backend) { b.before = failing(method) })
				s.b.note("cy", joined("g", 2))
				c.changed("g", domain.ChangeJoined)
				require.Equal(t, `{"event":"resync","groups":[{"group":"g","after_seq":2}]}`, c.next().raw)
				s.push("g", 1)
				c.alive()
				ann.message(4)
				s.b.change(func(b *backend) { b.before = nil })
				c.ok(`{"id":1,"op":"subscribe","group":"g","after_seq":2}`, nil)
			})
		})
	}
}

func TestJoiningWhatIsGoneMeanwhileIsNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.dial(t, "ann").ready()
		c := s.dial(t, "cy").ready()
		s.b.change(func(b *backend) { b.groups["g"].Dismissed = true })
		s.b.note("cy", joined("g", 0))
		c.changed("g", domain.ChangeJoined)
		c.alive()
		require.NotContains(t, s.log.String(), "not subscribed")
	})
}

func TestLeavingEndsTheSubscription(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.add(domain.Private, "h", "cy")
		c := s.dial(t, "cy").ready()
		n := left("h")
		s.b.note("cy", n)
		c.changed("h", domain.ChangeRemoved)
		synctest.Wait()
		require.Empty(t, s.ch.subscribed())
		s.push("h", 1)
		s.b.note("cy", n)
		c.alive() // once
	})
}

func TestLeavingThatTheGroupHasToldIsNotToldAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.add(domain.Private, "h", "cy", "ann")
		c := s.dial(t, "cy").ready()
		n := left("h")
		s.Hub().Noticed("h", domain.Notice{Event: n.Event, Gone: "cy", Version: n.Version})
		s.b.note("cy", n)
		c.changed("h", domain.ChangeRemoved)
		c.alive()
		require.Empty(t, s.ch.subscribed())
	})
}

func TestNotesAreTakenInTheirOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		s.b.change(func(b *backend) { b.silent = true })
		s.b.accept("g", 2)
		for range 3 {
			s.b.note("cy", joined("g", 1))
			s.b.note("cy", left("g"))
		}
		s.b.note("cy", joined("g", 2))
		s.Hub().UserNotes("cy")
		for range 3 {
			c.changed("g", domain.ChangeJoined)
			c.message(2)
			c.changed("g", domain.ChangeRemoved)
		}
		c.changed("g", domain.ChangeJoined)
		s.push("g", 1)
		c.message(3)
		c.alive()
		require.Equal(t, []string{"g"}, s.ch.subscribed())
	})
}

func TestLostWakeUpIsFound(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		stop := s.run(t)
		defer stop()
		c := s.dial(t, "cy").ready()
		s.b.change(func(b *backend) { b.silent = true })
		s.b.note("cy", joined("g", 0))
		time.Sleep(tailInterval)
		c.changed("g", domain.ChangeJoined)

		s.ch.still.Store(true) // and sooner while nothing is flowing
		s.b.note("cy", left("g"))
		time.Sleep(pollInterval)
		o := c.next()
		if o.Event == "resync" { // the feed has asked who is a member before the note was taken
			o = c.next()
		}
		require.Contains(t, o.raw, `"change":"removed"`)

		s.b.change(func(b *backend) { b.before = failing("Since") })
		s.b.note("cy", joined("g", 0))
		s.Hub().UserNotes("cy")
		time.Sleep(3 * tailInterval)
		c.alive()
		require.Contains(t, s.log.String(), "notes not read")
		s.b.change(func(b *backend) { b.before = nil })
		time.Sleep(tailInterval)
		c.changed("g", domain.ChangeJoined)
	})
}

// run runs the hub until stop.
func (s *piped) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Hub().Run(ctx) }()
	return func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func TestWakeUpWhileNotesAreRead(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		s.b.add(domain.Private, "h", "cy")
		synctest.Wait()
		gate, reads := make(chan struct{}), 0
		s.b.change(func(b *backend) {
			b.silent = true
			b.before = func(_ context.Context, method string) error {
				if method == "Since" {
					reads++
					if reads == 1 {
						<-gate
						return errDown // of this read nothing is known
					}
				}
				return nil
			}
		})
		s.b.note("cy", joined("g", 0))
		s.Hub().UserNotes("cy")
		synctest.Wait()
		s.b.note("cy", joined("h", 0))
		s.Hub().UserNotes("cy") // while the first is under way
		s.Hub().UserNotes("cy")
		close(gate)
		synctest.Wait()
		require.Empty(t, c.objects)
		s.Hub().UserNotes("cy")
		c.changed("g", domain.ChangeJoined)
		c.changed("h", domain.ChangeJoined)
		synctest.Wait()
		require.Equal(t, 2, reads)

		// One that comes when a read has seen what there was is read behind it.
		s.b.change(func(b *backend) {
			b.before = nil
			b.read = func() {
				b.change(func(b *backend) { b.read = nil })
				s.b.note("cy", left("h"))
				s.Hub().UserNotes("cy")
			}
		})
		s.b.note("cy", left("g"))
		s.Hub().UserNotes("cy")
		c.changed("g", domain.ChangeRemoved)
		c.changed("h", domain.ChangeRemoved)
		c.alive()
	})
}

func TestNotesEndConnections(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		first := s.dial(t, "ann").ready()
		firstID := s.open()[0].id
		second, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		s.b.note("ann", domain.Note{Kind: domain.NoteClose, Conn: firstID, Code: domain.CloseReplaced, Reason: "replaced"})
		require.Contains(t, first.goodbye(domain.CloseReplaced).raw, `"reason":"replaced"`)
		second.alive()

		require.NoError(t, s.sessions.Kick(t.Context(), domain.Actor{Key: "shop"}, "ann"))
		second.goodbye(domain.CloseRemoved)
		bob.alive()
		synctest.Wait()
		require.Equal(t, []string{"bob"}, s.ch.listening())

		third := s.dial(t, "ann").ready() // a kick is for those that are there
		s.Hub().UserNotes("ann")
		third.alive()
	})
}

func TestNotesOlderThanTheConnectionAreNoneOfItsBusiness(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.change(func(b *backend) { b.silent = true })
		s.b.note("cy", joined("g", 0))
		c := s.dial(t, "cy").ready()
		s.b.note("cy", joined("r", 0))
		second := s.dial(t, "cy").ready()
		s.Hub().UserNotes("cy")
		c.changed("r", domain.ChangeJoined)
		c.alive()
		second.alive()
	})
}

// A connection is let in before it is among its user's: what is told him in between is told to it as well.
func TestNotesBetweenAdmissionAndThePlaceAmongTheUsersConnections(t *testing.T) {
	t.Parallel()
	// meet lets a second connection of ann in and tells her something before it is there.
	meet := func(t *testing.T, s *piped, notes func(conn string) []domain.Note) (first, second *client) {
		first = s.dial(t, "ann").ready()
		s.b.change(func(b *backend) {
			b.between = func(let domain.Session) {
				for _, n := range notes(let.Conn) {
					s.b.note("ann", n)
				}
				synctest.Wait()
			}
		})
		return first, s.dial(t, "ann")
	}
	t.Run("an end", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			first, second := meet(t, s, func(conn string) []domain.Note {
				return []domain.Note{{Kind: domain.NoteClose, Conn: conn, Code: domain.CloseReplaced, Reason: "replaced"}}
			})
			o := second.next()
			if o.Event == "welcome" {
				o = second.next()
			}
			require.Equal(t, "goodbye", o.Event, o.raw)
			second.closed(domain.CloseReplaced)
			first.alive()
		})
	})
	t.Run("groups", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			first, second := meet(t, s, func(string) []domain.Note {
				s.b.seat("g", "ann", domain.Outsider)
				return []domain.Note{joined("r", 0), left("g")}
			})
			second.ready()
			for _, c := range []*client{first, second} {
				c.changed("r", domain.ChangeJoined)
				c.changed("g", domain.ChangeRemoved)
			}
			s.push("g", 1)
			s.push("r", 1)
			for _, c := range []*client{first, second} {
				require.Equal(t, "r", c.message(1).Group)
				c.alive()
			}
		})
	})
	t.Run("which cannot be read", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			s.dial(t, "ann").ready()
			s.b.change(func(b *backend) { b.before = failing("Since") })
			c := newConn(s.Server, nil, s.open()[0].claims, domain.Session{Conn: "second"}, domain.Admission{})
			c.writing = true
			s.hub.mu.Lock()
			s.hub.accounts["ann"].noted = "1700000000000-1"
			s.hub.signIn(c)
			s.hub.mu.Unlock()
			c.work.Wait()
			require.Equal(t, domain.CloseServerError, c.closeCode(), "it comes back, and has missed nothing")
			s.hub.remove(c)
		})
	})
}

// A note may be quicker than the welcome: both subscribe, and the group is counted once.
func TestNoteBeforeTheWelcome(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.accept("g", 1)
		session := domain.Session{Conn: "early", User: "ann", Instance: s.cfg.Life}
		c := newConn(s.Server, nil, auth.Claims{User: "ann", Expires: time.Now().Add(time.Hour)}, session, domain.Admission{First: true})
		c.writing = true
		s.hub.add(c)
		c.note(domain.Note{ID: "1700000000000-1", Kind: domain.NoteJoined, Group: "g", Version: newer(), Event: joined("g", 0).Event})
		c.start(task{own: c.welcome})
		c.work.Wait()
		var events []string
		for _, q := range c.queue {
			o, err := parseObject(q.object)
			require.NoError(t, err)
			events = append(events, o.Event)
		}
		require.Equal(t, []string{"welcome", "group", "message"}, events)
		c.leaveAll()
		require.Empty(t, s.ch.subscribed())
		require.Empty(t, s.ch.listening())
	})
}

func TestEventsOfAUserReachAllHisConnectionsButOne(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		first := s.dial(t, "ann").ready()
		except := s.open()[0].id
		second, bob := s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		s.Hub().UserNoticed("ann", domain.Notice{Except: except, Event: []byte(`{"event":"one"}`)})
		s.Hub().UserNoticed("ann", domain.Notice{Event: []byte(`{"event":"two"}`)})
		s.Hub().UserNoticed("nobody", domain.Notice{Event: []byte(`{"event":"three"}`)})
		require.Equal(t, "two", first.next().Event)
		require.Equal(t, "one", second.next().Event)
		require.Equal(t, "two", second.next().Event)
		bob.alive()
	})
}

func TestSessionsAreThoseOfTheConnections(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.dial(t, "bob").ready()
		require.ElementsMatch(t, s.b.entered(), s.Hub().Sessions())
		require.Len(t, s.Hub().Sessions(), 2)
		for _, session := range s.Hub().Sessions() {
			require.Equal(t, "one-1", session.Instance)
		}
		require.Equal(t, []string{"ann", "bob"}, s.ch.listening())
		require.NoError(t, c.ws.Close())
		synctest.Wait()
		require.Len(t, s.Hub().Sessions(), 1)
		require.Equal(t, []string{"bob"}, s.ch.listening())
	})
}
