package app

import (
	"io"
	stdlog "log"
	"time"

	"github.com/rs/zerolog"

	"hearth/configs"
)

// NewLogger writes to w as the configuration says: JSON lines for machines or plain ones for people.
func NewLogger(cfg configs.Log, w io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil {
		level = zerolog.InfoLevel // Load has checked it
	}
	if cfg.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// newStdLogger takes net/http's own complaints (broken handshakes and the like) at debug level.
func newStdLogger(log zerolog.Logger) *stdlog.Logger {
	return stdlog.New(debugWriter{log}, "", 0)
}

type debugWriter struct{ log zerolog.Logger }

func (w debugWriter) Write(p []byte) (int, error) {
	w.log.Debug().Str("reason", string(p)).Msg("http server")
	return len(p), nil
}
