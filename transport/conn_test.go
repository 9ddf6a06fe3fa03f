package transport

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/transport/wire"
)

func TestFramesOfSeveralObjects(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		c.write("\n {\"id\":1,\"op\":\"ping\"} \r\n\n{\"id\":2,\"op\":\"nonsense\"}\n{\"op\":\n{\"id\":4,\"op\":\"ping\"}\n")
		var ids []int64 // what cannot be read is answered by the reader, at any place among the others
		for range 4 {
			if o := c.next(); o.ID != nil {
				ids = append(ids, *o.ID)
			}
		}
		require.Equal(t, []int64{1, 2, 4}, ids)

		pings := func(n int) string {
			var frame []string
			for i := range n {
				frame = append(frame, fmt.Sprintf(`{"id":%d,"op":"ping"}`, i))
			}
			return strings.Join(frame, "\n")
		}
		c.write(pings(wire.MaxObjects))
		for i := range wire.MaxObjects {
			o := c.next()
			require.Equal(t, int64(i), *o.ID)
			require.NotNil(t, o.OK)
		}
		c.write(pings(wire.MaxObjects + 1))
		refused := 0
		for range wire.MaxObjects + 1 {
			if o := c.next(); o.Error != nil {
				require.Equal(t, domain.CodeBadRequest, o.Error.Code)
				require.Equal(t, int64(wire.MaxObjects), *o.ID)
				refused++
			}
		}
		require.Equal(t, 1, refused, "the 101st")
		c.alive()
	})
}

func TestQueuedObjectsGoInOneFrame(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialSilently(t, "ann", time.Hour)
		synctest.Wait() // welcome is being written
		for _, p := range s.b.accept("g", 100) {
			s.Hub().Published(p)
		}
		synctest.Wait()
		c.startReading()
		c.ready()
		for seq := int64(1); seq <= 100; seq++ {
			c.message(seq)
		}
		require.Equal(t, 1, <-c.frames, "welcome")
		require.Equal(t, 100, <-c.frames, "all that was queued meanwhile")
	})
}

func TestBigQueuesGoInSeveralFrames(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialSilently(t, "ann", time.Hour)
		synctest.Wait()
		body := textBody(strings.Repeat("x", 3_000))
		for range 20 {
			s.b.mu.Lock()
			push := s.b.store(s.b.groups["g"], "bob", "", body)
			s.b.mu.Unlock()
			s.Hub().Published(push)
		}
		synctest.Wait()
		c.startReading()
		c.ready()
		for seq := int64(1); seq <= 20; seq++ {
			c.message(seq)
		}
		require.Equal(t, []int{1, 5, 5, 5, 5}, []int{<-c.frames, <-c.frames, <-c.frames, <-c.frames, <-c.frames})
	})
}

var badFrames = map[string]string{
	"empty": "", "white space": " \n ", "not JSON": "hello", "an array": `[{"op":"ping"}]`, "no op": `{"id":1}`, "two in a line": `{"op":"ping"}{"op":"ping"}`,
}

func TestBadFramesAreAnsweredAndTheConnectionLives(t *testing.T) {
	t.Parallel()
	for name, frame := range badFrames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				c := s.dial(t, "ann").ready()
				for range maxBadFrames {
					c.refused(frame, domain.CodeBadRequest)
				}
				c.alive()
				time.Sleep(time.Minute)
				for range maxBadFrames {
					c.refused(frame, domain.CodeBadRequest)
				}
				c.alive()
				time.Sleep(time.Minute - time.Second)
				c.refused(frame, domain.CodeBadRequest)
				c.goodbye(domain.CloseAbuse)
			})
		})
	}
}

func TestEleventhBadFrameWithinAMinuteCloses(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		for range maxBadFrames {
			c.refused("x\ny", domain.CodeBadRequest)
			c.next() // a frame counts once, however much is wrong in it
			time.Sleep(5 * time.Second)
		}
		c.alive()
		c.refused("x", domain.CodeBadRequest)
		c.goodbye(domain.CloseAbuse)
	})
}

func TestBadIDsAndUnknownOpsAreNotBadFrames(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		for range 3 * maxBadFrames {
			require.Nil(t, c.refused(`{"id":-1,"op":"ping"}`, domain.CodeBadRequest).ID)
			c.refused(`{"id":1,"op":"dance"}`, domain.CodeBadRequest)
		}
		c.alive()
	})
}

func TestBinaryFramesAreBadFrames(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		for range maxBadFrames {
			require.NoError(t, c.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"id":1,"op":"ping"}`)))
			o := c.next()
			require.NotNil(t, o.Error, o.raw)
			require.Nil(t, o.ID)
		}
		c.alive()
		require.NoError(t, c.ws.WriteMessage(websocket.BinaryMessage, []byte("\xff\xfe")))
		c.next()
		c.goodbye(domain.CloseAbuse)
	})
}

func TestFragmentsAreOneFrame(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		w, err := c.ws.NextWriter(websocket.TextMessage)
		require.NoError(t, err)
		part := `{"id":7,"op":"ping"` + strings.Repeat(" ", 5000) // longer than the write buffer
		_, err = w.Write([]byte(part))
		require.NoError(t, err)
		_, err = w.Write([]byte("}"))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.Equal(t, int64(7), *c.next().ID)
	})
}

func TestHalfAFrameIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		started := time.Now()
		_, err := c.ws.NetConn().Write([]byte{0x81, 0x80 | 100, 0, 0, 0, 0, '{'})
		require.NoError(t, err)
		<-c.over
		require.LessOrEqual(t, time.Since(started), messageTimeout+closeTimeout)
		synctest.Wait()
		require.Empty(t, s.open())
	})
}

// These need the kernel's sockets: what is closed there with data unread is reset, and a close frame may be lost.
func TestClosesThatNameWhatWasWrongOfAFrame(t *testing.T) {
	t.Parallel()
	f, url := listen(t, nil)
	asAnn := map[string][]string{"Authorization": {"Bearer " + tokenOf(t, "ann", time.Hour)}}
	for name, c := range map[string]struct {
		frame string
		code  int // 0: taken
	}{
		"64 KiB":                   {`{"id":1,"op":"ping"` + strings.Repeat(" ", 64<<10-len(`{"id":1,"op":"ping"}`)) + `}`, 0},
		"one byte more":            {`{"id":1,"op":"ping"` + strings.Repeat(" ", 64<<10-len(`{"id":1,"op":"ping"}`)) + ` }`, websocket.CloseMessageTooBig},
		"four MiB":                 {strings.Repeat("x", 4<<20), websocket.CloseMessageTooBig},
		"not UTF-8":                {"{\"id\":1,\"op\":\"\xff\"}", websocket.CloseInvalidFramePayloadData},
		"a character cut in two":   {"{\"id\":1,\"op\":\"ping\"} \xe4\xbd", websocket.CloseInvalidFramePayloadData},
		"a surrogate, encoded raw": {"\"\xed\xa0\x80\"", websocket.CloseInvalidFramePayloadData},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 { // a lost close frame is a race
				ws, response := upgrade(t, url, asAnn, wire.Subprotocol)
				require.NotNil(t, ws, response.Status)
				client := newClient(t, ws)
				client.startReading()
				client.ready()
				_ = ws.WriteMessage(websocket.TextMessage, []byte(c.frame)) // may be cut short by the close
				if c.code == 0 {
					require.NotNil(t, client.next().OK)
				} else {
					client.closed(c.code)
				}
				require.NoError(t, ws.Close())
			}
		})
	}
	require.Eventually(t, func() bool { return len(f.open()) == 0 }, patience, time.Millisecond)
}

func TestTooManyFrames(t *testing.T) {
	t.Parallel()
	// write sends frames at a rate for a while and tells how many were refused.
	write := func(c *client, perSecond int, d time.Duration) (refused int) {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for range int(d.Seconds()) * perSecond {
			<-tick.C
			if o := c.ask(`{"id":1,"op":"ping"}`); o.Error != nil {
				require.Equal(c.t, domain.CodeRateLimited, o.Error.Code)
				require.Equal(c.t, int64(10), o.Error.RetryAfterMS)
				require.True(c.t, o.Error.Retryable)
				require.Equal(c.t, int64(1), *o.ID)
				refused++
			}
		}
		return refused
	}
	t.Run("at the rate, for ever", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			c := s.dial(t, "ann").ready()
			require.Zero(t, write(c, 100, 30*time.Second))
			c.alive()
		})
	})
	t.Run("over it for less than ten seconds", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			c := s.dial(t, "ann").ready()
			refused := 0
			for range 3 {
				n := write(c, 150, 8*time.Second)
				require.Positive(t, n)
				refused += n
				time.Sleep(2 * time.Second)
				require.Zero(t, write(c, 50, time.Second))
			}
			c.alive()
			require.InDelta(t, refused, testutil.ToFloat64(s.metrics.overRate), 0)
		})
	})
	t.Run("over it for ten seconds", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			c := s.dial(t, "ann").ready()
			started := time.Now()
			over := make(chan struct{})
			go func() {
				defer close(over)
				for c.ws.WriteMessage(websocket.TextMessage, []byte(`{"id":1,"op":"ping"}`)) == nil {
					time.Sleep(time.Second / 150)
				}
			}()
			refused := 0
			o := c.next()
			for ; o.Event == ""; o = c.next() {
				if o.Error != nil {
					refused++
				}
			}
			require.Equal(t, domain.CloseTooMany, o.Code, o.raw)
			require.Positive(t, refused)
			require.NotNil(t, o.ReconnectAfterMS)
			require.Greater(t, time.Since(started), tooManyFor)
			require.Less(t, time.Since(started), tooManyFor+3*time.Second)
			c.closed(domain.CloseTooMany)
			<-over
		})
	})
}

func TestPings(t *testing.T) {
	t.Parallel()
	const interval, pong = 25 * time.Second, 10 * time.Second
	t.Run("answered, the connection lives", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			c := s.dialSilently(t, "ann", 24*time.Hour)
			var pings []time.Time
			answer := c.ws.PingHandler()
			c.ws.SetPingHandler(func(data string) error {
				pings = append(pings, time.Now())
				return answer(data)
			})
			c.startReading()
			c.ready()
			time.Sleep(time.Hour)
			c.alive()
			require.InDelta(t, 144, len(pings), 16)
			for i := range pings[1:] {
				require.InDelta(t, interval, pings[i+1].Sub(pings[i]), float64(interval)*0.11)
			}
		})
	})
	t.Run("not answered, it is closed", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			c := s.dialSilently(t, "ann", time.Hour)
			c.ws.SetPingHandler(func(string) error { return nil })
			started := time.Now()
			c.startReading()
			c.ready()
			<-c.over
			c.goodbye(domain.CloseNoPong)
			require.GreaterOrEqual(t, time.Since(started), interval*9/10+pong)
			require.LessOrEqual(t, time.Since(started), interval*11/10+pong)
		})
	})
	t.Run("any frame is a sign of life", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			c := s.dialSilently(t, "ann", time.Hour)
			c.ws.SetPingHandler(func(string) error { return nil })
			c.startReading()
			c.ready()
			for range 100 {
				time.Sleep(5 * time.Second)
				c.alive()
			}
		})
	})
	t.Run("a peer gone without a word is given up", func(t *testing.T) {
		t.Parallel()
		inBubble(t, nil, func(t *testing.T, s *piped) {
			s.dialSilently(t, "ann", time.Hour) // reads nothing, ever
			time.Sleep(interval*11/10 + pong + closeTimeout)
			synctest.Wait()
			require.Empty(t, s.open())
			require.Empty(t, s.ch.subscribed())
		})
	})
}

func TestTokenEnds(t *testing.T) {
	t.Parallel()
	for name, lifetime := range map[string]time.Duration{"an hour": time.Hour, "half a minute": 30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, nil, func(t *testing.T, s *piped) {
				expires := time.Now().Add(lifetime)
				c := s.dialSilently(t, "ann", lifetime)
				c.startReading()
				c.ready()
				time.Sleep(max(0, lifetime-time.Minute-time.Second))
				if lifetime < time.Minute {
					require.Equal(t, "token_expiring", c.next().Event, "at once")
				}
				c.alive()
				time.Sleep(2 * time.Second)
				if lifetime > time.Minute {
					o := c.next()
					require.Equal(t, fmt.Sprintf(`{"event":"token_expiring","expires_ms":%d}`, expires.UnixMilli()), o.raw)
				}
				time.Sleep(time.Until(expires) - time.Millisecond)
				c.alive()
				c.goodbye(domain.CloseTokenExpired)
				require.WithinDuration(t, expires, time.Now(), 10*time.Millisecond)
			})
		})
	}
}

func TestClientThatCloses(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		started := time.Now()
		require.NoError(t, c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "bye"), time.Now().Add(time.Second)))
		c.closed(1000)
		synctest.Wait()
		require.Empty(t, s.open())
		require.Equal(t, started, time.Now(), "at once")
	})
}

func TestCloseIsNotPutOffByAClientThatGoesOn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.cfg.FrameRate = 0 }, func(t *testing.T, s *piped) {
		c := s.dialSilently(t, "ann", time.Hour)
		c.ws.SetCloseHandler(func(int, string) error { return nil }) // does not answer it
		c.startReading()
		c.ready()
		for range maxBadFrames + 1 {
			c.refused("x", domain.CodeBadRequest)
		}
		c.goodbye(domain.CloseAbuse)
		started := time.Now()
		for c.ws.WriteMessage(websocket.TextMessage, []byte(`{"id":1,"op":"ping"}`)) == nil {
			time.Sleep(100 * time.Millisecond)
			require.Less(t, time.Since(started), 3*closeTimeout, "still open")
		}
		synctest.Wait()
		require.Empty(t, s.open())
	})
}

func TestCloseOfAClientThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dialSilently(t, "ann", time.Hour)
		c.ws.SetCloseHandler(func(int, string) error { return nil })
		c.startReading()
		c.ready()
		s.open()[0].close(domain.CloseReplaced, "replaced")
		c.goodbye(domain.CloseReplaced)
		time.Sleep(closeTimeout)
		synctest.Wait()
		require.Empty(t, s.open())
	})
}

func TestDeadSocketIsNoticed(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		require.NoError(t, c.ws.NetConn().Close())
		synctest.Wait()
		require.Empty(t, s.open())
	})
}
