package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/portlease/portlease/shared/api"
	"github.com/portlease/portlease/shared/api/openapi"
)

// The parts of the status page, which is served as one document.
var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
)

// pageRefresh is how often an open page reloads; adminRateLimit is several times what
// that takes.
const pageRefresh = 5 * time.Second

// public mounts what needs no token: the OpenAPI document, and the status page, which
// holds no data. The page asks for a token and makes the calls of the API with it.
func (c Config) public(e *echo.Echo, admission *admission) {
	through := admission.bare(admission.admins)
	page, policy := statusPage()
	e.GET("/", func(x echo.Context) error {
		header := x.Response().Header()
		header.Set(echo.HeaderContentSecurityPolicy, policy)
		header.Set(echo.HeaderReferrerPolicy, "no-referrer")
		return x.HTMLBlob(http.StatusOK, page)
	}, through...)
	e.GET("/openapi.json", func(x echo.Context) error {
		return x.Blob(http.StatusOK, echo.MIMEApplicationJSON, openapi.Document)
	}, through...)
}

// statusPage gives the page, and the content security policy that lets a browser run
// exactly its script and style, call this allocator, and nothing else.
func statusPage() (page []byte, policy string) {
	var out bytes.Buffer
	err := template.Must(template.New("page").Parse(pageHTML)).Execute(&out, map[string]any{
		"Style": template.CSS(pageStyle), "Script": template.JS(pageScript), //nolint:gosec // both are embedded
		"Pools": api.PathPools, "Ports": api.PathPorts, "Refresh": pageRefresh.Milliseconds(),
		"Audience": api.AdminAudience,
	})
	if err != nil {
		panic(err) // the template and its values are constants
	}
	return out.Bytes(), strings.Join([]string{
		"default-src 'none'", "script-src " + hashOf(pageScript), "style-src " + hashOf(pageStyle), "connect-src 'self'",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
	}, "; ")
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
