package app

import (
	"crypto/sha256"

	"github.com/go-chi/chi/v5"

	"hearth/configs"
	"hearth/transport/console"
)

// newConsole completes what the console stands on; nil when nobody has a key.
func newConsole(cfg configs.Config, version string, on console.Config) (*console.Console, error) {
	keys, err := cfg.Console.ReadKeys()
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	on.Keys = make(map[string][sha256.Size]byte, len(keys))
	for _, k := range keys {
		on.Keys[k.ID] = k.SHA256
	}
	on.Secret = []byte(cfg.Auth.JWTHMACSecret.Reveal())
	on.Instance, on.Version, on.Settings = cfg.Node.Name, version, cfg.Print()
	on.HeatWindow = cfg.Heat.Window.D()
	return console.New(on), nil
}

func (i *Instance) mountConsole(r chi.Router) {
	if i.console == nil {
		return
	}
	r.Handle("/console", i.console)
	r.Handle("/console/*", i.console)
}

// endStreams lets the console's streams end with the listener that serves them: they would hold up its end.
func (i *Instance) endStreams(l *listener) {
	if i.console != nil {
		l.server.RegisterOnShutdown(i.console.Close)
	}
}
