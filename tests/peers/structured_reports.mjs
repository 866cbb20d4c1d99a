// OHIF's own reader and writer of structured reports, without OHIF.
//
//   node structured_reports.mjs requests.json answers.json
//
// requests.json is a list of {image, report, rectangles, labels, written}:
//   image       {study, series, instance, class, rows, columns, spacing: [row, column] in mm}
//   report      SR file to open as OHIF does, or null
//   rectangles  [[xmin, ymin, xmax, ymax], ...] in pixels, drawn on the image as it is rendered
//   labels      words of each rectangle
//   statistics  false: save before Cornerstone has measured them
//   written     file for the report that OHIF saves of them, or null
// answers.json holds for each [{label, tracking, drawn, saved}, ...] of the report's rectangles: `drawn` is where the
// renderer shows them, `saved` what Create Report would write if they stay untouched; both [xmin, ymin, xmax, ymax].

import { readFileSync, writeFileSync } from 'node:fs';
import { adaptersSR } from '@cornerstonejs/adapters';
import { metaData, utilities } from '@cornerstonejs/core';
import dcmjs from 'dcmjs';

const { MeasurementReport } = adaptersSR.Cornerstone3D;
const { DicomMessage, DicomMetaDictionary, datasetToDict } = dcmjs.data;
console.log = console.info = () => {}; // the adapters print every measurement

let image; // of the case at hand
metaData.addProvider((type) => {
  const [rowPixelSpacing, columnPixelSpacing] = image.spacing;
  return {
    instance: { SOPInstanceUID: image.instance, SeriesInstanceUID: image.series, StudyInstanceUID: image.study },
    sopCommonModule: { sopInstanceUID: image.instance, sopClassUID: image.class },
    frameNumber: 1,
    imagePlaneModule: {
      rows: image.rows,
      columns: image.columns,
      rowCosines: [1, 0, 0], // what OHIF takes for a DX, which has no place in the patient
      columnCosines: [0, 1, 0],
      imagePositionPatient: [0, 0, 0],
      rowPixelSpacing,
      columnPixelSpacing,
    },
  }[type];
});

const imageId = () => `test:${image.instance}`;

// The renderer's image has spacing [column, row] and its origin in the first pixel's centre (getImageDataMetadata).
const worldOfPixel = ([x, y]) => [(x - 0.5) * image.spacing[1], (y - 0.5) * image.spacing[0], 0];
const pixelOfWorld = ([x, y]) => [x / image.spacing[1] + 0.5, y / image.spacing[0] + 0.5];

function boxAround(points) {
  const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

function open(file) {
  const bytes = readFileSync(file);
  const dict = DicomMessage.readFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)).dict;
  const dataset = DicomMetaDictionary.naturalizeDataset(dict);
  const images = { [image.instance]: imageId(), [`${image.instance}:1`]: imageId() };
  const tools = MeasurementReport.generateToolState(dataset, images, metaData);
  return (tools.RectangleROI ?? []).map(({ annotation, TrackingUniqueIdentifier }) => ({
    label: annotation.data.label,
    tracking: TrackingUniqueIdentifier,
    drawn: boxAround(annotation.data.handles.points.map(pixelOfWorld)),
    saved: boxAround(annotation.data.handles.points.map((point) => utilities.worldToImageCoords(imageId(), point))),
  }));
}

function save(file, rectangles, labels, statistics) {
  const data = rectangles.map(([xmin, ymin, xmax, ymax], i) => {
    const corners = [[xmin, ymin], [xmax, ymin], [xmin, ymax], [xmax, ymax]];
    const area = (xmax - xmin) * (ymax - ymin) * image.spacing[0] * image.spacing[1];
    const measured = { area, areaUnit: 'mm\xB2', mean: 1000, max: 2000, stdDev: 10, modalityUnit: '' };
    return {
      metadata: { toolName: 'RectangleROI', referencedImageId: imageId() },
      data: {
        label: labels[i],
        handles: { points: corners.map(worldOfPixel), textBox: { hasMoved: i % 2 === 1, worldPosition: [0, 0, 0] } },
        cachedStats: statistics ? { [`imageId:${imageId()}`]: measured } : {},
      },
    };
  });
  const state = { [imageId()]: { RectangleROI: { data } } };
  const { dataset } = MeasurementReport.generateReport(state, metaData, {});
  dataset.SpecificCharacterSet ??= 'ISO_IR 192'; // as OHIF's command does
  writeFileSync(file, new Uint8Array(datasetToDict(dataset).write()));
}

const [requests, answers] = process.argv.slice(2);
const read = JSON.parse(readFileSync(requests, 'utf8')).map((request) => {
  image = request.image;
  if (request.written) {
    save(request.written, request.rectangles, request.labels, request.statistics !== false);
  }
  return request.report ? open(request.report) : [];
});
writeFileSync(answers, JSON.stringify(read));
