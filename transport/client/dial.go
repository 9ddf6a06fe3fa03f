package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"hearth/transport/wire"
)

const handshakeTimeout = 10 * time.Second

// loss is how a connection ended, or why there is none.
type loss struct {
	code     int // close code or HTTP status; 0: neither came
	reason   string
	after    time.Duration // the server's word on when to come back; 0: none
	welcomed bool
	err      error
}

// final is the error of a server that does not want the client back. A 409 says that the user is connected elsewhere:
// to a client that was welcome once, that may be its own last connection, of which the server has not yet learned that
// it was cut.
func (l loss) final(welcomedOnce bool) error {
	switch {
	case l.code >= 4500 && l.code < 5000,
		l.code == http.StatusUnauthorized, l.code == http.StatusForbidden,
		l.code == http.StatusConflict && !welcomedOnce:
		return &EndedError{Code: l.code, Reason: l.reason}
	}
	return nil
}

// dial connects to an instance; ws is nil when it cannot.
func (c *Client) dial(ctx context.Context, base string) (ws *websocket.Conn, why loss) {
	token, err := c.cfg.Token(ctx)
	if err != nil {
		return nil, loss{reason: "no token: " + err.Error(), err: fmt.Errorf("token: %w", err)}
	}
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment}
	if c.cfg.Dialer != nil {
		dialer = *c.cfg.Dialer
	}
	dialer.Subprotocols = []string{wire.Subprotocol}
	if dialer.HandshakeTimeout == 0 {
		dialer.HandshakeTimeout = handshakeTimeout
	}
	ws, response, err := dialer.DialContext(ctx, socketURL(base), http.Header{"Authorization": {"Bearer " + token}})
	if response != nil {
		defer response.Body.Close()
	}
	switch {
	case err == nil:
		return ws, loss{}
	case response != nil && response.StatusCode != http.StatusSwitchingProtocols:
		return nil, refusal(response)
	}
	return nil, loss{reason: err.Error(), err: fmt.Errorf("connect to %s: %w", base, err)}
}

// socketURL turns http into ws, and https into wss.
func socketURL(base string) string {
	base = strings.TrimSuffix(base, "/")
	if rest, ok := strings.CutPrefix(base, "http"); ok {
		base = "ws" + rest
	}
	return base + "/v1/ws"
}

// refusal reads the problem with which an upgrade was refused.
func refusal(response *http.Response) loss {
	var problem struct {
		Detail       string `json:"detail"`
		RetryAfterMS int64  `json:"retry_after_ms"`
	}
	if json.NewDecoder(response.Body).Decode(&problem) != nil || problem.Detail == "" {
		problem.Detail = http.StatusText(response.StatusCode)
	}
	return loss{
		code: response.StatusCode, reason: problem.Detail, after: milliseconds(problem.RetryAfterMS),
		err: fmt.Errorf("connect: refused with status %d: %s", response.StatusCode, problem.Detail),
	}
}
