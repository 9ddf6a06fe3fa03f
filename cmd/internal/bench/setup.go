package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

const (
	createsAtOnce = 16
	dialsAtOnce   = 64
)

// connect creates the groups and opens the connections. When it fails, none is left open.
func (l *load) connect(ctx context.Context) error {
	err := l.createGroups(ctx)
	if err == nil {
		err = l.dialAll(ctx)
	}
	if err != nil {
		l.closeAll()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return err
}

func (l *load) createGroups(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: createsAtOnce}, Timeout: l.cfg.Timeout}
	defer client.CloseIdleConnections()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(createsAtOnce)
	for i, g := range l.groups {
		base := l.cfg.URLs[i%len(l.cfg.URLs)] + "/v1/groups"
		tasks.Go(func() error { return l.createGroup(ctx, client, base, g) })
	}
	return tasks.Wait()
}

func (l *load) createGroup(ctx context.Context, client *http.Client, base string, g *group) error {
	members := make([]string, len(g.conns))
	for i, c := range g.conns {
		members[i] = c.user
	}
	first := min(len(members), membersACall)
	err := l.post(ctx, client, base, map[string]any{"group": g.id, "type": "group", "name": g.id, "members": members[:first]})
	for rest := members[first:]; err == nil && len(rest) > 0; rest = rest[min(len(rest), membersACall):] {
		err = l.post(ctx, client, base+"/"+g.id+"/members", map[string]any{"members": rest[:min(len(rest), membersACall)]})
	}
	return err
}

func (l *load) post(ctx context.Context, client *http.Client, url string, body any) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(payload))
	if err != nil {
		return &Error{Kind: Setup, Err: err}
	}
	req.Header.Set("Authorization", "Bearer "+l.cfg.APIKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return &Error{Kind: Down, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return &Error{Kind: Down, Err: err}
	}
	if resp.StatusCode/100 != 2 {
		return refusedHTTP("POST "+url, resp.StatusCode, answer)
	}
	return nil
}

func refusedHTTP(what string, status int, answer []byte) error {
	var problem struct{ Code, Detail string }
	if err := json.Unmarshal(answer, &problem); err == nil && problem.Code != "" {
		return refusal(what, problem.Code, problem.Detail)
	}
	if status >= 500 {
		return errorf(Down, "%s: HTTP %d", what, status)
	}
	return errorf(Setup, "%s: HTTP %d", what, status)
}

func (l *load) dialAll(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(dialsAtOnce)
	for i, c := range l.conns {
		tasks.Go(func() error { return c.dial(ctx, l.cfg.URLs[i%len(l.cfg.URLs)]) })
	}
	return tasks.Wait()
}

func (c *conn) dial(ctx context.Context, base string) error {
	cfg := c.load.cfg
	token, err := userToken(cfg.Secret, c.user, time.Now().Add(time.Hour+cfg.Warmup+cfg.Duration))
	if err != nil {
		return &Error{Kind: Setup, Err: err}
	}
	dialer := websocket.Dialer{
		HandshakeTimeout: cfg.Timeout,
		Subprotocols:     []string{"hearth.v1"},
		WriteBufferSize:  len(c.template)*cfg.Batch + 64, // one frame, one write
	}
	//nolint:bodyclose // gorilla has read and closed it; what is left is a buffer
	ws, resp, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(base, "http")+"/v1/ws",
		http.Header{"Authorization": {"Bearer " + token}})
	if errors.Is(err, websocket.ErrBadHandshake) {
		answer, _ := io.ReadAll(resp.Body) // what gorilla kept of it, from memory
		return refusedHTTP(base+"/v1/ws, user "+c.user, resp.StatusCode, answer)
	}
	if err != nil {
		return errorf(Down, "%s/v1/ws: %w", base, err)
	}
	c.ws = ws
	release := context.AfterFunc(ctx, func() { _ = ws.Close() })
	defer release()
	return c.enter(cfg.Timeout)
}

func userToken(secret []byte, user string, expires time.Time) (string, error) {
	claims := jwt.RegisteredClaims{Subject: user, ExpiresAt: jwt.NewNumericDate(expires)}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
}

// greeting holds what can come before the first send.
type greeting struct {
	ID         *int64
	OK         json.RawMessage
	Error      *struct{ Code, Message string }
	Event      string
	Subscribed int
}

// enter waits for welcome, and subscribes where the server has not done so.
func (c *conn) enter(timeout time.Duration) error {
	_ = c.ws.SetReadDeadline(time.Now().Add(timeout))
	welcomed := false
	for {
		frame, err := c.readFrame()
		if err != nil {
			return errorf(Down, "user %s: waiting for welcome: %w", c.user, err)
		}
		for line := range bytes.SplitSeq(frame, newline) {
			if len(line) == 0 {
				continue
			}
			var g greeting
			if err := json.Unmarshal(line, &g); err != nil {
				return errorf(Wrong, "user %s: the server wrote %.80q: %w", c.user, line, err)
			}
			switch {
			case g.Event == "welcome" && g.Subscribed >= 1, welcomed && g.OK != nil:
				return c.ws.SetReadDeadline(time.Time{})
			case g.Event == "welcome":
				welcomed = true
				if err := c.write(fmt.Appendf(nil, `{"id":1,"op":"subscribe","group":%q}`, c.group.id)); err != nil {
					return err
				}
			case g.Error != nil:
				return refusal("subscribe", g.Error.Code, g.Error.Message)
			}
		}
	}
}
