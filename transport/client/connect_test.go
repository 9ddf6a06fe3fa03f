package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"hearth/transport/client"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	token := func(context.Context) (string, error) { return "", nil }
	for _, cfg := range []client.Config{{}, {Token: token}, {URLs: []string{"http://x"}}, {URLs: []string{"http://x"}, Token: token, Held: -1}} {
		_, err := client.New(cfg)
		require.Error(t, err)
	}
}

func TestRunEndsWithItsContextAndOnlyOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		l := f.welcome()
		synctest.Wait()
		r.cancel()
		require.NoError(t, receive(t, r.ended, "the end of Run"))
		_, ok := <-l.requests
		require.False(t, ok, "the link is closed")
		require.ErrorIs(t, r.Do(context.Background(), "ping", nil, nil), client.ErrStopped)
		require.Error(t, r.Run(context.Background()))
	})
}

func TestTheServersHintIsFollowed(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r, l := liveAt5(f, nil)
		closed := time.Now()
		l.close(4000, 4321*time.Millisecond)
		l = f.accept()
		require.Equal(t, 4321*time.Millisecond, time.Since(closed))
		state := r.lastState()
		require.Equal(t, client.State{URL: f.url, Code: 4000, Reason: "test", Delay: 4321 * time.Millisecond, Err: state.Err}, state)
		l.write(`{"event":"welcome","ping_interval_ms":25000}`)
		l.expectSubscribe("tea", 5)
	})
}

func TestBackoffGrowsAndIsResetByAWelcome(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		const attempts = 50
		var count atomic.Int64
		at := make(chan time.Time)
		f.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
			at <- time.Now()
			if count.Add(1)%attempts == 0 {
				return false
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		f.start(nil)
		last := <-at
		for range 2 {
			long := 0
			for range attempts - 1 {
				next := <-at
				require.LessOrEqual(t, next.Sub(last), 15*time.Second)
				if next.Sub(last) > 5*time.Second {
					long++
				}
				last = next
			}
			require.Greater(t, long, attempts/4, "delays over 5 s")
			f.welcome().cut()
			cut := time.Now()
			last = <-at
			require.LessOrEqual(t, last.Sub(cut), 500*time.Millisecond, "the first delay after a welcome")
		}
	})
}

func TestInstancesAreTakenInTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(func(_ *running, cfg *client.Config) {
			cfg.URLs = []string{"http://one", "ws://two/", "http://three"}
		})
		for _, want := range []string{"one", "two", "three", "one"} {
			l := f.welcome()
			require.Equal(t, want, l.host)
			require.True(t, r.lastState().Connected)
			l.cut()
		}
	})
}

func TestTheServerMaySayNever(t *testing.T) {
	t.Parallel()
	for _, code := range []int{4500, 4501, 4502, 4503, 4999} {
		t.Run(fmt.Sprint("close ", code), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				r, l := liveAt5(f, nil)
				l.push("tea", 6)
				l.close(code, 0)
				requireEnded(t, r, code, "test")
				require.Equal(t, []string{"tea 6"}, r.read(), "what came before is handed out")
				require.Equal(t, code, r.lastState().Code)
			})
		})
	}
	for _, status := range []int{401, 403, 409} {
		t.Run(fmt.Sprint("status ", status), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				f.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
					w.WriteHeader(status)
					fmt.Fprint(w, `{"detail":"the token has expired"}`)
					return true
				}
				requireEnded(t, f.start(nil), status, "the token has expired")
			})
		})
	}
}

func requireEnded(t *testing.T, r *running, code int, reason string) {
	t.Helper()
	err := receive(t, r.ended, "the end of Run")
	var ended *client.EndedError
	require.ErrorAs(t, err, &ended)
	require.Equal(t, client.EndedError{Code: code, Reason: reason}, *ended)
	_, err = r.Send(context.Background(), client.Draft{Group: "tea", Body: client.Text("hi")})
	require.ErrorAs(t, err, &ended, "sends do not wait for ever")
}

// The server learns late that a link was cut, and takes the client's next connection for another login.
func TestConnectedElsewhereIsWaitedOutAfterAWelcome(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		var ghost atomic.Bool
		f.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
			if !ghost.Load() {
				return false
			}
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"detail":"you are connected elsewhere"}`)
			return true
		}
		r, l := liveAt5(f, nil)
		ghost.Store(true)
		l.cut()
		time.Sleep(36 * time.Second)
		state := r.lastState()
		require.Equal(t, http.StatusConflict, state.Code)
		require.Positive(t, state.Delay)
		require.LessOrEqual(t, state.Delay, 15*time.Second)
		ghost.Store(false)
		f.welcome().expectSubscribe("tea", 5)
	})
}

func TestOtherEndsAreComeBackFrom(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end    func(*link)
		code   int
		reason string
	}{
		"cut":             {(*link).cut, 0, "EOF"},
		"goodbye and cut": {func(l *link) { l.write(`{"event":"goodbye","code":4004,"reason":"slow"}`); l.cut() }, 4004, "slow"},
		"close without goodbye": {func(l *link) {
			_ = l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1012, "restart"), time.Now().Add(time.Second))
		}, 1012, "restart"},
		"token expired": {func(l *link) { l.close(4002, time.Millisecond) }, 4002, "test"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				r, l := liveAt5(f, nil)
				c.end(l)
				l = f.accept()
				require.Equal(t, c.code, r.lastState().Code)
				require.Contains(t, r.lastState().Reason, c.reason)
				require.Error(t, r.lastState().Err)
				l.write(`{"event":"welcome","ping_interval_ms":25000}`)
				l.expectSubscribe("tea", 5)
			})
		})
	}
}

func TestRefusedConnectsAreRepeatedWhenTheServerSays(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		refused := 0
		f.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
			if refused++; refused > 1 {
				return false
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"detail":"starting","retry_after_ms":7000}`)
			return true
		}
		started := time.Now()
		r := f.start(nil)
		f.accept()
		require.Equal(t, 7*time.Second, time.Since(started))
		require.Equal(t, "starting", r.lastState().Reason)
	})
}

func TestEveryConnectHasAFreshToken(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		asked := 0
		f.start(func(_ *running, cfg *client.Config) {
			cfg.Token = func(context.Context) (string, error) {
				if asked++; asked == 2 {
					return "", errors.New("the token server is away")
				}
				return fmt.Sprint("token ", asked), nil
			}
		})
		l := f.welcome()
		require.Equal(t, "token 1", l.token)
		l.cut()
		require.Equal(t, "token 3", f.welcome().token)
	})
}

func TestTokenIsRefreshed(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		asked := 0
		f.start(func(_ *running, cfg *client.Config) {
			cfg.Token = func(context.Context) (string, error) {
				if asked++; asked == 3 {
					return "", errors.New("the token server is away")
				}
				return fmt.Sprint("token ", asked), nil
			}
		})
		l := f.welcome()
		l.write(`{"event":"token_expiring","expires_ms":1}`)
		r := l.expect("refresh")
		require.Equal(t, "token 2", r.Token)
		r.fail("unauthorized", false, 0) // the connection goes on until it is closed
		l.write(`{"event":"token_expiring","expires_ms":1}`)
		l.quiet()
	})
}

func TestADeadLinkIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r, l := liveAt5(f, nil)
		for range 20 { // a server with nothing to say
			time.Sleep(27 * time.Second)
			require.NoError(t, l.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)))
		}
		pinged := time.Now()
		f.accept()
		require.GreaterOrEqual(t, time.Since(pinged), 47500*time.Millisecond)
		require.Less(t, time.Since(pinged), 49*time.Second)
		require.Contains(t, r.lastState().Reason, "not a word")
	})
}

func TestAServerWithoutAWelcomeIsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		started := time.Now()
		f.start(nil)
		f.accept()
		f.accept()
		require.Less(t, time.Since(started), 31*time.Second)
	})
}

func TestEventsAreHandedOn(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(func(r *running, cfg *client.Config) {
			cfg.OnEvent = func(name string, raw json.RawMessage) { r.add("%s %s", name, raw) }
		})
		l := f.accept()
		l.write(`{"event":"welcome"}`, `{"event":"read","group":"tea","user":"bob","seq":3}`)
		require.Equal(t, []string{`welcome {"event":"welcome"}`, `read {"event":"read","group":"tea","user":"bob","seq":3}`}, r.read())
		l.write(`{"event":"message","group":5}`, `{"new":"thing"}`, `[]`, `nonsense`) // nothing to be done about it
		require.Empty(t, r.read())
		require.True(t, r.lastState().Connected)
	})
}

func TestHooksMaySendWhileTheConnectionIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r, l := liveAt5(f, func(r *running, cfg *client.Config) {
			cfg.OnMessage = func(m client.Message) {
				_, err := r.Send(context.Background(), client.Draft{Group: "echo", Body: m.Body})
				r.add("%d %v", m.Seq, err)
			}
		})
		l.push("tea", 6)
		l.expect("send")
		l.cut()
		l = f.welcome()
		l.expect("send").ok(`{"seq":1}`)
		l.expectSubscribe("tea", 6)
		require.Equal(t, []string{"6 <nil>"}, r.read())
	})
}
