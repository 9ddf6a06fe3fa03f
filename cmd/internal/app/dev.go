package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/alicebob/miniredis/v2"
	"github.com/rs/zerolog"
	"gocloud.dev/blob"

	"hearth/configs"
	"hearth/mysqlrepo"
	"hearth/redisrepo"
	"hearth/transport/demo"
)

// DevConfig is what `hearth dev` may be told.
type DevConfig struct {
	Addr      string // of the first instance; the others listen on the ports behind it
	Instances int
	Bots      int
	Dir       string // where the data lies
	Fresh     bool   // forget what is there
	Redis     string // address of a real one; "" for the embedded one
	MySQL     string // DSN of a real one; "" for SQLite
	Version   string // of hearth
	Log       zerolog.Logger
}

// Dev is a running dev stack.
type Dev struct {
	URLs   []string // of the instances
	APIKey string
	Admin  string                        // key of the console
	Token  string                        // of a user for the terminal, good for a day
	stops  []func(context.Context) error // in the order in which they have to be called
}

var devRooms = []string{"lobby", "music", "football", "cooking", "night-owls", "go"}

// StartDev brings up instances on embedded parts, with the demo page and its bots. Stop ends them.
func StartDev(ctx context.Context, c DevConfig) (d *Dev, err error) {
	d = &Dev{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop(context.WithoutCancel(ctx)))
			d = nil
		}
	}()
	cfg, err := d.config(c)
	if err != nil {
		return d, err
	}
	if d.Token, _, err = signer(cfg, devTokenTTL)("terminal", "Terminal"); err != nil {
		return d, err
	}
	identity, err := d.startRedis(c, &cfg)
	if err != nil {
		return d, err
	}
	sql, err := d.openSQL(ctx, c, cfg)
	if err != nil {
		return d, err
	}
	files, err := d.openUploads(ctx, c, &cfg)
	if err != nil {
		return d, err
	}
	listeners, err := devListeners(c, &cfg)
	if err != nil {
		return d, err
	}
	for _, ln := range listeners {
		d.URLs = append(d.URLs, urlOf(ln))
	}
	cfg.HTTP.AllowedOrigins = d.URLs
	for n, ln := range listeners {
		cfg.Node.Name = "dev-" + strconv.Itoa(n+1)
		if err := d.startInstance(ctx, cfg, c, identity, sql, files, ln); err != nil {
			return d, errors.Join(err, closeAll(listeners[n:]))
		}
	}
	if c.Bots > 0 {
		d.startBots(ctx, c, cfg)
	}
	return d, nil
}

// Stop ends everything, last started first, and waits.
func (d *Dev) Stop(ctx context.Context) (err error) {
	for i := len(d.stops) - 1; i >= 0; i-- {
		err = errors.Join(err, d.stops[i](ctx))
	}
	return err
}

// config is the default configuration with fresh secrets. Embedded Redis is slower than the default rates are
// meant for, but the rates stay: what is tried here is what is served.
func (d *Dev) config(c DevConfig) (cfg configs.Config, err error) {
	if c.Instances < 1 || c.Instances > 9 {
		return cfg, fmt.Errorf("instances: must be from 1 to 9")
	}
	cfg = configs.Default()
	cfg.HTTP.InternalAddr = ""
	cfg.Rooms.AutoCreate = true
	cfg.Auth.AllowQueryToken = true
	cfg.Auth.JWTHMACSecret = configs.Secret(randomHex(32))
	d.APIKey, d.Admin = randomHex(16), randomHex(8)
	cfg.Auth.APIKeys = []string{"dev:" + sha256Hex(d.APIKey)}
	cfg.Console.Keys = []string{"dev:" + sha256Hex(d.Admin)}
	return cfg, nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails since Go 1.24
	return hex.EncodeToString(b)
}

// startRedis starts the embedded Redis unless a real one is given. It returns the identity that stands in for the
// replid of a server that has none: new at every start, as a real one's, because the embedded one forgets.
func (d *Dev) startRedis(c DevConfig, cfg *configs.Config) (identity string, err error) {
	if c.Redis != "" {
		cfg.Redis.Addrs = []string{c.Redis}
		return "", nil
	}
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	if err := m.Start(); err != nil {
		return "", fmt.Errorf("embedded redis: %w", err)
	}
	d.stops = append(d.stops, func(context.Context) error { m.Close(); return nil })
	cfg.Redis.Addrs = []string{m.Addr()}
	return "embedded-" + randomHex(8), nil
}

func (d *Dev) openSQL(ctx context.Context, c DevConfig, cfg configs.Config) (*mysqlrepo.DB, error) {
	sql, err := openDevSQL(ctx, c, cfg)
	if err != nil {
		return nil, err
	}
	d.stops = append(d.stops, func(context.Context) error { return sql.Close() })
	if err := sql.Migrate(ctx); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	return sql, nil
}

func openDevSQL(ctx context.Context, c DevConfig, cfg configs.Config) (*mysqlrepo.DB, error) {
	if c.MySQL != "" {
		cfg.MySQL.DSN = configs.Secret(c.MySQL)
		return mysqlrepo.Open(ctx, mysqlConfig(cfg))
	}
	path := filepath.Join(c.Dir, "dev.db")
	if c.Fresh {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("forget earlier data: %w", err)
			}
		}
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	return mysqlrepo.OpenSQLite(ctx, path, mysqlConfig(cfg))
}

// openUploads opens the folder of all instances, beside the data.
func (d *Dev) openUploads(ctx context.Context, c DevConfig, cfg *configs.Config) (*blob.Bucket, error) {
	cfg.Uploads.Dir = filepath.Join(c.Dir, "uploads")
	if c.Fresh {
		if err := os.RemoveAll(cfg.Uploads.Dir); err != nil {
			return nil, fmt.Errorf("forget earlier uploads: %w", err)
		}
	}
	files, err := openUploads(ctx, cfg.Uploads, c.Log)
	if err != nil {
		return nil, err
	}
	d.stops = append(d.stops, func(context.Context) error { return closeUploads(files) })
	return files, nil
}

// devListeners opens the instances' addresses, before the instances are made: each has to know the others' origins.
func devListeners(c DevConfig, cfg *configs.Config) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, fmt.Errorf("addr: %w", err)
	}
	first, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("addr: port: %w", err)
	}
	cfg.HTTP.Addr = c.Addr
	var listeners []net.Listener
	for n := range c.Instances {
		next := 0 // any, as the first was asked to be
		if first != 0 {
			next = first + n
		}
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(next)))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen (another --addr may be free): %w", err), closeAll(listeners))
		}
		listeners = append(listeners, ln)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) (err error) {
	for _, ln := range listeners {
		err = errors.Join(err, ln.Close())
	}
	return err
}

func (d *Dev) startInstance(
	ctx context.Context, cfg configs.Config, c DevConfig, identity string, sql *mysqlrepo.DB, files *blob.Bucket, ln net.Listener,
) error {
	redis, err := redisrepo.Open(redisConfig(cfg, identity))
	if err != nil {
		return err
	}
	d.stops = append(d.stops, func(context.Context) error { return redis.Close() })
	instance, err := NewInstance(cfg, c.Version, redis, sql, files, c.Log)
	if err != nil {
		return err
	}
	stop, err := instance.Start(ctx)
	if err != nil {
		return err
	}
	d.stops = append(d.stops, stop)
	router := instance.Public()
	router.Get("/", http.RedirectHandler("/demo", http.StatusFound).ServeHTTP)
	page := demo.Config{Sign: signer(cfg, devTokenTTL), Instances: d.URLs, Rooms: devRooms, Window: cfg.Heat.Window.D()}
	handler := onlyHost(ln.Addr().String(), router)
	if everywhere(ln) { // under names that are not known here: each page keeps to the instance it was opened at
		page.Instances, handler = nil, router
	}
	mountDemo(router, page)
	l := newListener(ln, handler, c.Log)
	instance.endStreams(l)
	l.serve()
	d.stops = append(d.stops, l.shutdown)
	return nil
}

// everywhere tells whether it listens on every interface.
func everywhere(ln net.Listener) bool {
	addr, ok := ln.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsUnspecified()
}

// urlOf is what can be typed on this machine.
func urlOf(ln net.Listener) string {
	addr := ln.Addr().String()
	if everywhere(ln) {
		_, port, _ := net.SplitHostPort(addr) // of a listener: it has one
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	return "http://" + addr
}

// onlyHost refuses requests whose Host is not this machine's: a page elsewhere that had its name point to 127.0.0.1
// would get in otherwise (DNS rebinding).
func onlyHost(addr string, next http.Handler) http.Handler {
	_, port, _ := net.SplitHostPort(addr) // of a listener: it has one
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Host {
		case addr, "localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port:
			next.ServeHTTP(w, r)
		default:
			http.Error(w, "dev answers to 127.0.0.1 and localhost only", http.StatusForbidden)
		}
	})
}
