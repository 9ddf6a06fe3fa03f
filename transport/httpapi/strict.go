package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"hearth/domain"
)

const (
	maxBodyBytes    = 1 << 20
	bodyReadTimeout = 10 * time.Second
)

// strict refuses malformed queries and bodies before huma reads them, so that huma never has an error of its own
// to write.
func (a *api) strict(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	err := checkQuery(ctx.Operation(), r.URL)
	if err == nil {
		err = checkBody(ctx.Operation(), w, r)
	}
	if err != nil {
		WriteError(w, err)
		return
	}
	r.Header.Del("Accept") // there is JSON only
	next(ctx)
}

// checkQuery lets only parameters through that the operation has, once each and with a value.
func checkQuery(op *huma.Operation, u *url.URL) error {
	if u.RawQuery == "" {
		return nil
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return domain.Errorf(domain.CodeBadRequest, "the query string is malformed")
	}
	for name, given := range values {
		shown := shownName(name)
		parameter := queryParameter(op, name)
		switch {
		case parameter == nil:
			return domain.BadField(shown, "unknown query parameter")
		case len(given) > 1 && parameter.Schema.Type != huma.TypeArray:
			return domain.BadField(shown, "is given twice")
		case slices.Contains(given, ""):
			return domain.BadField(shown, "needs a value, or is left out")
		case !utf8.ValidString(strings.Join(given, "")):
			return domain.BadField(shown, "is not valid UTF-8")
		}
	}
	u.RawQuery = values.Encode() // huma's own parser misreads parameters without "="
	return nil
}

func queryParameter(op *huma.Operation, name string) *huma.Param {
	for _, p := range op.Parameters {
		if p.In == "query" && p.Name == name {
			return p
		}
	}
	return nil
}

// shownName bounds what an error repeats of the caller's own words.
func shownName(name string) string {
	if len(name) > 40 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return "?"
	}
	return name
}

// checkBody reads the whole body, at most 1 MiB of JSON, and puts it back.
func checkBody(op *huma.Operation, w http.ResponseWriter, r *http.Request) error {
	raw, err := readBody(w, r)
	switch {
	case err != nil:
		return err
	case op.RequestBody == nil && len(raw) > 0:
		return domain.Errorf(domain.CodeBadRequest, "this route takes no body")
	case op.RequestBody == nil:
		return nil
	case len(raw) == 0 && op.RequestBody.Required:
		return domain.Errorf(domain.CodeBadRequest, "a JSON body is required")
	case len(raw) > 0 && !isJSON(r.Header):
		return withStatus(http.StatusUnsupportedMediaType,
			domain.Errorf(domain.CodeBadRequest, "the body must be application/json in UTF-8, not compressed"))
	}
	r.Header.Set("Content-Type", "application/json")
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(bodyReadTimeout)) // not every ResponseWriter has deadlines
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err == nil {
		// A deadline left standing would end the request's context while a durable send waits.
		_ = deadline.SetReadDeadline(time.Time{})
		return raw, nil
	}
	// net/http would wait for the rest of the body before it answers on a connection that is to stay.
	w.Header().Set("Connection", "close")
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, domain.Errorf(domain.CodeTooLarge, "the body may have %d bytes at most", maxBodyBytes)
	}
	return nil, incomplete(err)
}

// incomplete is for a body that could not be read to its end.
func incomplete(err error) error {
	refused := domain.Errorf(domain.CodeBadRequest, "the body did not arrive whole")
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return withStatus(http.StatusRequestTimeout, refused)
	}
	return refused
}

// isJSON takes a missing content type for JSON.
func isJSON(h http.Header) bool {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	contentType := h.Get("Content-Type")
	if contentType == "" {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}
