// Draws dashboards with Grafana's own components, from the rows that check.py fetched: window.draw(dashboard, fetched).

import { createRoot } from 'react-dom/client';
import {
  EventBusSrv,
  FieldConfigOptionsRegistry,
  FieldMatcherID,
  FieldType,
  ThemeContext,
  applyFieldOverrides,
  createTheme,
  dateTime,
  fieldMatchers,
  getDisplayProcessor,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, PanelContextProvider, Table, TimeSeries, preparePlotFrame } from '@grafana/ui';
import { firstValueFrom } from 'rxjs';
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';

const WIDTH = 1560;
const MARGIN = 8;
const ROW = 30;

const theme = createTheme({ colors: { mode: 'light' } });

// What a field's configuration may hold: Grafana's application registers these, the packages do not.
const STANDARD = ['unit', 'min', 'max', 'decimals', 'displayName', 'color', 'thresholds', 'mappings', 'noValue'];
const CUSTOM = [
  'align', 'axisLabel', 'axisPlacement', 'cellOptions', 'drawStyle', 'fillOpacity', 'inspect', 'lineInterpolation', 'lineStyle', 'lineWidth', 'minWidth',
  'pointSize', 'scaleDistribution', 'showPoints', 'spanNulls', 'stacking', 'thresholdsStyle', 'width',
];
const option = (path, isCustom) => ({
  id: isCustom ? `custom.${path}` : path,
  path,
  isCustom,
  name: path,
  editor: () => null,
  override: () => null,
  process: (value, context) => (path === 'displayName' && value ? context.replaceVariables(value, context.field.state?.scopedVars) : value),
  shouldApply: () => true,
  settings: {},
});
const registry = new FieldConfigOptionsRegistry(() => [
  ...STANDARD.map((path) => option(path, false)),
  ...CUSTOM.map((path) => option(path, true)),
]);

standardTransformersRegistry.setInit(() =>
  // Some stand in it under two names.
  [...new Map(Object.values(standardTransformers).map((transformation) => [transformation.id, transformation])).values()].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation,
    editor: () => null,
  }))
);

const replaceVariables = (text, scoped) =>
  text.replace(/\$\{__field\.labels\.(\w+)\}/g, (_, label) => scoped?.__dataContext?.value.field?.labels?.[label] ?? scoped?.__field?.value.labels?.[label] ?? '?');

async function framesOf(panel, fetched) {
  const frames = fetched.map((fields) =>
    toDataFrame({
      fields: fields.map(({ name, type, values, labels }) => ({
        name, type, labels, values: type === 'number' ? values.map((v) => (v === 'NaN' ? NaN : v)) : values, config: {},
      })),
    })
  );
  const transformed = await firstValueFrom(
    transformDataFrame(panel.transformations ?? [], frames, { interpolate: (text) => text })
  );
  return applyFieldOverrides({
    data: transformed,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registry,
    replaceVariables,
    theme,
    timeZone: 'utc',
  });
}

function displayValues(panel, frames) {
  return getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables,
    theme,
    timeZone: 'utc',
  });
}

function Stat({ panel, frames, width, height }) {
  const values = displayValues(panel, frames);
  const { orientation, colorMode, graphMode, justifyMode, textMode } = panel.options;
  const beside = orientation === 'vertical' || (orientation === 'auto' && width > height);
  const each = beside ? { width: width / values.length, height } : { width, height: height / values.length };
  return (
    <div style={{ display: 'flex', flexDirection: beside ? 'row' : 'column' }}>
      {values.map(({ display }, i) => (
        <BigValue key={i} value={display} theme={theme} {...each} {...{ colorMode, graphMode, justifyMode, textMode }} count={values.length} />
      ))}
    </div>
  );
}

function Bars({ panel, frames, width, height }) {
  const values = displayValues(panel, frames);
  const alignmentFactors = getDisplayValueAlignmentFactors(values);
  const { displayMode, orientation, valueMode, namePlacement, showUnfilled, maxVizHeight } = panel.options;
  return values.map(({ display, field }, i) => (
    <div key={i} style={{ marginBottom: 8 }}>
      <BarGauge
        value={display}
        field={field}
        display={getDisplayProcessor({ field: { type: FieldType.number, config: field }, theme })}
        text={{}}
        theme={theme}
        width={width}
        height={Math.min(height / values.length - 8, maxVizHeight)}
        itemSpacing={8}
        alignmentFactors={alignmentFactors}
        {...{ displayMode, orientation, showUnfilled, namePlacement, valueDisplayMode: valueMode }}
      />
    </div>
  ));
}

function Lines({ panel, frames, width, height, range }) {
  const xField = panel.options.xField;
  const byName = xField && fieldMatchers.get(FieldMatcherID.byName).get(xField);
  const prepare = xField && ((all, fields) => preparePlotFrame(all, { ...fields, x: byName }));
  const timeRange = { from: dateTime(range.from), to: dateTime(range.to), raw: { from: dateTime(range.from), to: dateTime(range.to) } };
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
      {...(prepare ? { preparePlotFrame: prepare } : {})}
    />
  );
}

function Rows({ panel, frames, width, height }) {
  return <Table data={frames[0]} width={width} height={height} showTypeIcons={false} cellHeight={panel.options.cellHeight} initialSortBy={panel.options.sortBy} />;
}

const KINDS = { stat: Stat, bargauge: Bars, timeseries: Lines, trend: Lines, table: Rows };

function Panel({ panel, frames, range }) {
  const Kind = KINDS[panel.type];
  const { x, y, w, h } = panel.gridPos;
  const column = (WIDTH - MARGIN) / 24;
  const place = {
    position: 'absolute',
    left: MARGIN + x * column,
    top: y * (ROW + MARGIN),
    width: w * column - MARGIN,
    height: h * (ROW + MARGIN) - MARGIN,
  };
  return (
    <div style={place} data-panel={panel.title}>
      <PanelChrome width={place.width} height={place.height} title={panel.title} description={panel.description}>
        {(width, height) => <Kind {...{ panel, frames, width, height, range }} />}
      </PanelChrome>
    </div>
  );
}

function Head({ dashboard, fetched }) {
  const chip = { border: `1px solid ${theme.colors.border.medium}`, background: theme.colors.background.primary, padding: '4px 10px', borderRadius: 2 };
  const day = (ms) => dateTime(ms).utc().format(fetched.range.to - fetched.range.from > 86400000 ? 'YYYY-MM-DD' : 'HH:mm:ss');
  const shown = { ...fetched.variables, 'Time range': `${day(fetched.range.from)} to ${day(fetched.range.to)} UTC` };
  return (
    <div style={{ padding: MARGIN, display: 'flex', gap: 12, alignItems: 'center' }}>
      <div style={{ flex: 1 }}>
        <div style={{ fontSize: 20, fontWeight: 500 }}>{dashboard.title}</div>
        <div style={{ color: theme.colors.text.secondary }}>{dashboard.description}</div>
      </div>
      {Object.entries(shown).map(([label, text]) => (
        <span key={label}>
          <span style={{ ...chip, borderRight: 0, fontWeight: 500 }}>{label}</span>
          <span style={chip}>{text}</span>
        </span>
      ))}
    </div>
  );
}

window.draw = async (dashboard, fetched) => {
  // Components measure texts when they are made.
  await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 14px Inter`)));
  const frames = {};
  for (const panel of dashboard.panels) {
    frames[panel.id] = await framesOf(panel, fetched.panels[panel.id]);
  }
  const rows = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h));
  const root = document.createElement('div');
  document.body.replaceChildren(root);
  createRoot(root).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={{ eventBus: new EventBusSrv(), sync: () => 0 }}>
        <div style={{ width: WIDTH, background: theme.colors.background.canvas }} id="dashboard">
          <Head dashboard={dashboard} fetched={fetched} />
          <div style={{ position: 'relative', height: rows * (ROW + MARGIN) }}>
            {dashboard.panels.map((panel) => (
              <Panel key={panel.id} panel={panel} frames={frames[panel.id]} range={fetched.range} />
            ))}
          </div>
        </div>
      </PanelContextProvider>
    </ThemeContext.Provider>
  );
};
