package transport

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
	"hearth/transport/auth"
	"hearth/transport/httpapi"
	"hearth/transport/wire"
)

// Clock tells the time by which messages are stamped.
type Clock interface{ NowMS() int64 }

// Deps is what a Server stands on.
type Deps struct {
	Auth       *auth.Verifier
	History    *domain.History
	Sends      *domain.Sends
	Signals    *domain.Signals
	Recalls    *domain.Recalls
	Sessions   *domain.Sessions
	Groups     *domain.Groups
	Ranking    Ranking
	HeatWindow time.Duration
	Notes      domain.Notes
	Watermarks *domain.Watermarks
	Journal    *domain.Journal
	Clock      Clock
	Log        zerolog.Logger
	Registerer prometheus.Registerer
	// AllowedOrigins are those beside the server's own from which browsers may connect; "*" allows all.
	AllowedOrigins []string
}

// Server accepts WebSockets.
type Server struct {
	cfg      ConnConfig
	auth     *auth.Verifier
	history  *domain.History
	sends    *domain.Sends
	signals  *domain.Signals
	recalls  *domain.Recalls
	sessions *domain.Sessions
	groups   *domain.Groups
	clock    Clock
	log      zerolog.Logger
	metrics  *metrics
	hub      *Hub
	boards   *boards
	admitted *admission
	upgrader websocket.Upgrader
	conns    sync.WaitGroup
}

// NewServer makes a server; its Hub needs its channels before the first connection.
func NewServer(cfg ConnConfig, d Deps) *Server {
	m := newMetrics(d.Registerer)
	return &Server{
		cfg: cfg, auth: d.Auth, history: d.History, sends: d.Sends, signals: d.Signals, recalls: d.Recalls, sessions: d.Sessions,
		groups: d.Groups, clock: d.Clock, log: d.Log,
		metrics:  m,
		hub:      NewHub(d.History, d.Notes, d.Watermarks, d.Journal, d.Clock, d.Log, m),
		boards:   newBoards(d.Ranking, d.HeatWindow, d.Log),
		admitted: newAdmission(cfg.Connections, cfg.Handshakes),
		upgrader: websocket.Upgrader{
			HandshakeTimeout: 10 * time.Second,
			ReadBufferSize:   512, // one a connection for its whole life: small
			WriteBufferSize:  4096,
			WriteBufferPool:  &sync.Pool{},
			CheckOrigin:      originCheck(d.AllowedOrigins),
			Subprotocols:     []string{wire.Subprotocol},
			Error: func(w http.ResponseWriter, _ *http.Request, _ int, reason error) {
				httpapi.WriteError(w, domain.Errorf(domain.CodeBadRequest, "%s", reason.Error()))
			},
		},
	}
}

// Hub is what the subscriber hands messages to.
func (s *Server) Hub() *Hub { return s.hub }

// originCheck lets through programs (no Origin), the server's own pages, and what is allowed.
func originCheck(allowed []string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		origin := r.Header.Get("Origin")
		if origin == "" || slices.Contains(allowed, "*") || slices.Contains(allowed, origin) {
			return true
		}
		u, err := url.Parse(origin)
		return err == nil && strings.EqualFold(u.Host, r.Host)
	}
}

// ServeHTTP upgrades a request to a WebSocket. Whatever is wrong is said with an HTTP status before the upgrade.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(reason string, err error) {
		s.metrics.refused.WithLabelValues(reason).Inc()
		httpapi.WriteError(w, err)
	}
	if !s.upgrader.CheckOrigin(r) {
		refuse("origin", domain.Errorf(domain.CodeForbidden, "this origin may not connect"))
		return
	}
	for name := range r.URL.Query() {
		if name != auth.QueryToken {
			refuse("query", domain.BadField("query", "this route has no parameter but %s", auth.QueryToken))
			return
		}
	}
	if s.hub.isClosing() { // before the upgrade: a load balancer takes it elsewhere
		refuse("leaving", domain.Errorf(domain.CodeUnavailable, "this instance is shutting down"))
		return
	}
	claims, err := s.auth.UserFromUpgrade(r)
	if err != nil {
		refuse("token", err)
		return
	}
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		refuse("no_upgrade", domain.Errorf(domain.CodeBadRequest, "this route takes WebSocket upgrades"))
		return
	}
	if offered := offeredProtocols(r); len(offered) > 0 && !slices.Contains(offered, wire.Subprotocol) {
		refuse("subprotocol", domain.BadField("Sec-WebSocket-Protocol", "must offer %s", wire.Subprotocol))
		return
	}
	if err := s.admitted.enter(); err != nil { // behind the token: strangers take nobody's turn
		s.metrics.notAdmitted.Inc()
		refuse("admission", err)
		return
	}
	session := domain.Session{Conn: newConnID(), User: claims.User, Device: claims.Device, Instance: s.cfg.Life}
	admission, err := s.sessions.Enter(r.Context(), session)
	if err != nil {
		s.admitted.leave()
		refuse("session", err)
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil { // Upgrade has answered
		s.admitted.leave()
		s.metrics.refused.WithLabelValues("upgrade").Inc()
		s.signOff(context.WithoutCancel(r.Context()), session, nil)
		return
	}
	s.serve(newConn(s, ws, claims, session, admission))
}

// signOff takes a session out, for everybody to see, and tells those of the groups who have to know.
func (s *Server) signOff(ctx context.Context, session domain.Session, groups []string) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := s.sessions.Leave(ctx, session, groups); err != nil {
		s.log.Warn().Err(err).Str("conn", session.Conn).Str("user", session.User).Msg("session not taken out, trying again later")
	}
}

// offeredProtocols are the client's subprotocols other than a token in disguise.
func offeredProtocols(r *http.Request) []string {
	return slices.DeleteFunc(websocket.Subprotocols(r), func(p string) bool {
		return strings.HasPrefix(p, wire.TokenProtocolPrefix)
	})
}

func (s *Server) serve(c *Conn) {
	if !s.hub.add(c) {
		s.admitted.leave()
		_ = c.writeFrame(wire.AppendGoodbye(nil, domain.CloseShuttingDown, "shutting down", reconnectAfter()))
		c.closeNow(domain.CloseShuttingDown, "shutting down")
		_ = c.ws.Close()
		s.signOff(context.Background(), c.session(), nil)
		return
	}
	s.metrics.opened.Inc()
	s.log.Debug().Str("conn", c.id).Str("user", c.claims.User).Msg("connected")
	// The handler returns, and with it goes what net/http keeps for a request, its context too; the connection
	// lives on its own until it is closed.
	s.conns.Go(func() {
		defer s.admitted.leave()
		c.run()
	})
}

// Close waits for what the closed connections leave behind.
func (s *Server) Close() {
	s.conns.Wait()
	s.boards.work.Wait()
	s.hub.Close()
}

func newConnID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails since Go 1.24
	return hex.EncodeToString(b[:])
}
